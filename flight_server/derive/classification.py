"""The Fink class of an alert."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from alertflight_config import DEFAULT_SURVEY

from flight_server.derive.classes import load_classes
from flight_server.derive.inputs import Numbers

__all__ = ["LABELS", "fink_class"]

Truths = npt.NDArray[np.bool_]

UNKNOWN, MICROLENSING, SN, EARLY_SN, KILONOVA, CANDIDATE, TRACKLET, MPC, AMBIGUOUS = range(9)
LABELS = (
    "Unknown",
    "Microlensing candidate",
    "SN candidate",
    "Early SN Ia candidate",
    "Kilonova candidate",
    "Solar System candidate",
    "Tracklet",
    "Solar System MPC",
    "Ambiguous",
)
NO_SIMBAD_CLASS = ("Unknown", "Transient")
NO_SIMBAD_CLASS_BEGINS = ("Fail", "Galaxy")
TRACKLET_BEGINS = "TRCK_"
PROBABLE = 0.5
STAR_LIKE = 0.4
SN_DAYS, KILONOVA_DAYS = 90.0, 5.0
EARLY_DETECTIONS, KILONOVA_DETECTIONS = 20, 20
ROID_CANDIDATE, ROID_MPC = 2, 3


def fink_class(
    *,
    cdsxmatch: pa.Array,
    roid: Numbers,
    mulens: Numbers,
    snn_snia_vs_nonia: Numbers,
    snn_sn_vs_all: Numbers,
    rf_snia_vs_nonia: Numbers,
    rf_kn_vs_nonkn: Numbers,
    ndethist: Numbers,
    drb: Numbers,
    classtar: Numbers,
    jd: Numbers,
    jdstarthist: Numbers,
    tracklet: pa.Array | None,
) -> pa.Array:
    """Return the Fink class of each alert, as in fink-filters 7.35.

    A condition on a missing value is not met. Where `cdsxmatch` is null, so is the class: a SIMBAD label
    takes precedence over everything, and here it is unknown (the public service writes the text `nan` for both).

    Parameters
    ----------
    cdsxmatch
        SIMBAD label of the counterpart.
    roid
        2 for a solar system candidate, 3 for a known solar system object.
    mulens, snn_snia_vs_nonia, snn_sn_vs_all, rf_snia_vs_nonia, rf_kn_vs_nonkn
        Scores.
    ndethist, drb, classtar, jd, jdstarthist
        Properties of the candidate.
    tracklet
        Name of the tracklet; None if no alert has one.

    Examples
    --------
    >>> zero, one, none = np.zeros(3), np.ones(3), pa.nulls(3, pa.string())
    >>> scores = dict.fromkeys(["mulens", "snn_snia_vs_nonia", "snn_sn_vs_all", "rf_snia_vs_nonia", "rf_kn_vs_nonkn"], zero)
    >>> candidate = dict.fromkeys(["ndethist", "drb", "classtar", "jd", "jdstarthist"], one)
    >>> labels = pa.array(["Unknown", "Unknown", "QSO"])
    >>> roid = np.array([0.0, 3.0, 3.0])
    >>> fink_class(cdsxmatch=labels, roid=roid, tracklet=none, **scores, **candidate).to_pylist()
    ['Unknown', 'Solar System MPC', 'QSO']
    """
    matches, codes, extragalactic, simbad = _cross_matches(cdsxmatch)
    since = jd - jdstarthist
    point_like = (drb > PROBABLE) & (classtar > STAR_LIKE)
    likely_sn = ((snn_snia_vs_nonia > PROBABLE) | (snn_sn_vs_all > PROBABLE)) & extragalactic & point_like
    not_mpc = (roid < ROID_MPC) | (roid > ROID_MPC)  # unlike !=, false for NaN
    is_mulens = mulens > 0
    is_sn = likely_sn & (since <= SN_DAYS) & (ndethist > 1) & not_mpc
    is_early = likely_sn & (rf_snia_vs_nonia > PROBABLE) & (ndethist <= EARLY_DETECTIONS)
    is_kilonova = (
        (rf_kn_vs_nonkn > PROBABLE)
        & point_like
        & (since < KILONOVA_DAYS)
        & (ndethist < KILONOVA_DETECTIONS)
        & not_mpc
        & extragalactic
    )
    is_candidate, is_mpc = roid == ROID_CANDIDATE, roid == ROID_MPC
    found = np.full(len(codes), UNKNOWN, np.int32)
    # later labels overwrite earlier ones
    found[is_mulens] = MICROLENSING
    found[is_sn] = SN
    found[is_early] = EARLY_SN
    found[is_kilonova] = KILONOVA
    found[is_candidate] = CANDIDATE
    if tracklet is not None:
        found[pc.starts_with(tracklet, TRACKLET_BEGINS).fill_null(fill_value=False).to_numpy(zero_copy_only=False)] = TRACKLET
    found[is_mpc] = MPC
    found[is_mulens.astype(np.int8) + is_sn + is_candidate + is_mpc > 1] = AMBIGUOUS
    found[simbad] = len(LABELS) + codes[simbad]
    unknown = found == len(LABELS) + len(matches)
    return pa.array([*LABELS, *matches], pa.string()).take(pa.array(found, mask=unknown))


def _cross_matches(cdsxmatch: pa.Array) -> tuple[list[str], npt.NDArray[np.int32], Truths, Truths]:
    """Return the distinct labels, the index of each row among them, and whether it is extragalactic and a class.

    Rows without a label have the index after the last one, and count as a class.
    """
    encoded = cdsxmatch.dictionary_encode()
    hosts = load_classes(DEFAULT_SURVEY).extragalactic
    labels = encoded.dictionary.to_pylist()
    codes = encoded.indices.fill_null(len(labels)).to_numpy(zero_copy_only=False)
    extragalactic = np.array([*(label in hosts for label in labels), False])
    simbad = np.array([*(_is_class(label) for label in labels), True])
    return labels, codes, extragalactic[codes], simbad[codes]


def _is_class(label: str) -> bool:
    return label not in NO_SIMBAD_CLASS and not label.startswith(NO_SIMBAD_CLASS_BEGINS)
