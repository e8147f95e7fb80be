"""A simple reference implementation of derived columns, with pandas (object by object) and astropy, for tests and benchmarks.

The definitions are those of Fink's REST service for ZTF. Frames have the columns of the table `ztf`, with floats as the
numbers that their shortest decimal text stands for, as the service reads them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.coordinates import SkyCoord, get_constellation
from astropy.time import Time

DAYS = 0.3
RATES = ["v:rate", "v:sigma(rate)"]
COLOURS = ["v:g-r", "v:sigma(g-r)", "v:rate(g-r)", "v:sigma(rate(g-r))"]
LIGHT_CURVE = ["i:jd", "i:magpsf", "i:sigmapsf"]
HOSTS = frozenset(
    {"galaxy", "Galaxy", "EmG", "Seyfert", "Seyfert_1", "Seyfert_2", "BlueCompG", "StarburstG", "LSB_G", "HII_G", "High_z_G"}
    | {"GinPair", "GinGroup", "BClG", "GinCl", "PartofG", "Compact_Gr_G", "IG", "PairG", "GroupG", "ClG", "SuperClG", "Void"}
    | {"LINER", "Possible_ClG", "Possible_SClG", "GravLens_Candidate", "Unknown", "Candidate_SN*", "SN", "Transient", "Fail"}
    | {"Fail 504", "SN*_Candidate"}
)


def frame_of(rows: pa.Table) -> pd.DataFrame:
    """Return rows as in the service: every number is a float64 read from text, NaN for null."""
    made = {}
    for name in rows.schema.names:
        column = rows[name].to_pylist()
        kind = rows.schema.field(name).type
        if pa.types.is_float32(kind):
            column = [None if value is None else float(str(np.float32(value))) for value in column]
        is_text = pa.types.is_string(kind)
        made[name] = pd.Series(column, dtype=object if is_text else "float64")
    return pd.DataFrame(made)


def pandas_way(frame: pd.DataFrame, centre: tuple[float, float] | None) -> pd.DataFrame:
    """Compute all columns, those of the public service in its way; without a centre, all but the separation."""
    made = pd.DataFrame({"v:classification": classifications(frame), "v:constellation": constellations(frame)})
    made["v:lapse"] = frame["i:jd"] - frame["i:jdstarthist"]
    if centre is not None:
        made["v:separation_degree"] = _sky(frame).separation(SkyCoord(*centre, unit="deg")).degree
    return pd.concat([made, dates(frame), rates(frame), colours(frame), fluxes(frame)], axis=1)


def dates(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the dates as text."""
    columns = {"v:lastdate": "i:jd", "v:firstdate": "i:jdstarthist"}
    return pd.DataFrame({name: Time(frame[jd].to_numpy(), format="jd").iso for name, jd in columns.items()})


def constellations(frame: pd.DataFrame) -> pd.Series:
    """Return the names of the constellations."""
    return pd.Series(get_constellation(_sky(frame)))


def _sky(frame: pd.DataFrame) -> SkyCoord:
    return SkyCoord(frame["i:ra"].to_numpy(), frame["i:dec"].to_numpy(), unit="deg")


def fluxes(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the difference flux and its error, nJy."""
    size = 10.0 ** ((31.4 - frame["i:magpsf"]) / 2.5)
    signs = frame["i:isdiffpos"].map({"t": 1.0, "1": 1.0, "f": -1.0, "0": -1.0})
    return pd.DataFrame({"v:flux": size * signs, "v:sigma(flux)": size * np.log(10.0) / 2.5 * frame["i:sigmapsf"]})


def rates(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rate of each point since the object's previous point in the same filter."""
    parts = []
    for _, points in frame[frame["i:fid"].isin([1, 2])].groupby(["i:objectId", "i:fid"]):
        ordered = points.sort_values("i:jd", kind="stable")
        days = ordered["i:jd"].diff()
        sigma = np.hypot(ordered["i:sigmapsf"], ordered["i:sigmapsf"].shift()) / days
        parts.append(pd.DataFrame({"v:rate": ordered["i:magpsf"].diff() / days, "v:sigma(rate)": sigma}))
    return _joined(parts, frame, RATES)


def colours(frame: pd.DataFrame) -> pd.DataFrame:
    """Return for each point the colour of the nearest pair of g and r points, and its rate."""
    parts = []
    for _, points in frame[frame["i:jd"].notna()].groupby("i:objectId"):
        ordered = points.sort_values("i:jd", kind="stable")
        g, r = (ordered.loc[ordered["i:fid"] == fid, LIGHT_CURVE] for fid in (1, 2))
        pairs = pd.merge_asof(g, r, on="i:jd", suffixes=("_g", "_r"), direction="nearest", tolerance=DAYS)
        pairs["v:g-r"] = pairs["i:magpsf_g"] - pairs["i:magpsf_r"]
        pairs["v:sigma(g-r)"] = np.hypot(pairs["i:sigmapsf_g"], pairs["i:sigmapsf_r"])
        pairs = pairs.dropna(subset=["v:g-r"])
        days = pairs["i:jd"].diff()
        pairs["v:rate(g-r)"] = pairs["v:g-r"].diff() / days
        pairs["v:sigma(rate(g-r))"] = np.hypot(pairs["v:sigma(g-r)"], pairs["v:sigma(g-r)"].shift()) / days
        given = pd.merge_asof(ordered[["i:jd"]], pairs[["i:jd", *COLOURS]], on="i:jd", direction="nearest", tolerance=DAYS)
        parts.append(given[COLOURS].set_index(ordered.index))
    return _joined(parts, frame, COLOURS)


def _joined(parts: list[pd.DataFrame], frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    found = pd.concat(parts) if parts else pd.DataFrame(columns=names, dtype="float64")
    return found.reindex(frame.index)


def classifications(frame: pd.DataFrame) -> pd.Series:
    """Return the class of each alert, column by column."""
    label, roid = frame["d:cdsxmatch"], frame["d:roid"]
    days = frame["i:jd"] - frame["i:jdstarthist"]
    point_like = (frame["i:drb"] > 0.5) & (frame["i:classtar"] > 0.4)
    probable = (frame["d:snn_snia_vs_nonia"] > 0.5) | (frame["d:snn_sn_vs_all"] > 0.5)
    host = label.isin(HOSTS)
    mulens = frame["d:mulens"] > 0
    sn = probable & host & point_like & (days <= 90) & (frame["i:ndethist"] > 1) & (roid != 3)
    early = probable & host & point_like & (frame["d:rf_snia_vs_nonia"] > 0.5) & (frame["i:ndethist"] <= 20)
    kilonova = (frame["d:rf_kn_vs_nonkn"] > 0.5) & host & point_like & (days < 5) & (frame["i:ndethist"] < 20) & (roid != 3)
    simbad = ~label.isin(["Unknown", "Transient"]) & ~label.str.startswith("Fail") & ~label.str.startswith("Galaxy")
    found = pd.Series("Unknown", index=frame.index, dtype=object)
    found[mulens] = "Microlensing candidate"
    found[sn] = "SN candidate"
    found[early] = "Early SN Ia candidate"
    found[kilonova] = "Kilonova candidate"
    found[roid == 2] = "Solar System candidate"
    if "d:tracklet" in frame:
        found[frame["d:tracklet"].fillna("").str.startswith("TRCK_")] = "Tracklet"
    found[roid == 3] = "Solar System MPC"
    several = mulens.astype(int) + sn.astype(int) + (roid == 2).astype(int) + (roid == 3).astype(int)
    found[several > 1] = "Ambiguous"
    found[simbad] = label[simbad]
    found[label.isin(["", "nan"])] = None
    return found


def class_of(alert: dict[str, Any]) -> str | None:
    """Return the class of one alert; conditions on missing values are not met."""

    def above(name: str, least: float) -> bool:
        return alert[name] is not None and alert[name] > least

    label, roid, detections = alert["d:cdsxmatch"], alert["d:roid"], alert["i:ndethist"]
    if label in {None, "", "nan"}:
        return None
    if label not in {"Unknown", "Transient"} and not label.startswith("Fail") and not label.startswith("Galaxy"):
        return str(label)
    days = None if None in {alert["i:jd"], alert["i:jdstarthist"]} else alert["i:jd"] - alert["i:jdstarthist"]
    good = above("i:drb", 0.5) and above("i:classtar", 0.4) and label in HOSTS
    probable = good and (above("d:snn_snia_vs_nonia", 0.5) or above("d:snn_sn_vs_all", 0.5))
    counted, other = detections is not None, roid is not None and roid != 3
    sn = probable and days is not None and days <= 90 and counted and detections > 1 and other
    early = probable and above("d:rf_snia_vs_nonia", 0.5) and counted and detections <= 20
    kilonova = good and above("d:rf_kn_vs_nonkn", 0.5) and days is not None and days < 5 and counted and detections < 20 and other
    if [above("d:mulens", 0.0), sn, roid == 2, roid == 3].count(True) > 1:
        return "Ambiguous"
    # the last that holds, so the first from behind
    for holds, name in (
        (roid == 3, "Solar System MPC"),
        ((alert["d:tracklet"] or "").startswith("TRCK_"), "Tracklet"),
        (roid == 2, "Solar System candidate"),
        (kilonova, "Kilonova candidate"),
        (early, "Early SN Ia candidate"),
        (sn, "SN candidate"),
        (above("d:mulens", 0.0), "Microlensing candidate"),
    ):
        if holds:
            return name
    return "Unknown"
