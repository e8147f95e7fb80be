"""The simulated sky: its objects, and the times at which each is observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Sky", "make_sky", "object_names"]

LETTERS = 7
FIRST_NIGHT_JD = 2_459_580.5  # 2022-01-01
DUSK, DARK_DAYS = 0.60, 0.40  # the night at Palomar, as fractions of the UTC day
CLASSES = ("Unknown", "QSO", "RRLyr", "EB*", "Galaxy", "Star", "Mira", "AGN", "Candidate_SN*", "BLLac", "YSO", "WD*")


@dataclass(frozen=True, slots=True)
class Sky:
    """Objects, and their alerts in order of time.

    `names`, `ra`, `dec` (deg), `magnitude` and `kind` have one entry per object; `owner` (its object), `jd`,
    `night` (from 0) and `fid` one per alert.
    """

    names: pa.StringArray
    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]
    magnitude: npt.NDArray[np.float32]
    kind: pa.StringArray
    owner: npt.NDArray[np.int64]
    jd: npt.NDArray[np.float64]
    night: npt.NDArray[np.int64]
    fid: npt.NDArray[np.int32]


def make_sky(objects: int, alerts_each: int, named: dict[str, int], nights: int, random: np.random.Generator) -> Sky:
    """Return a random sky; the same for the same arguments and seed.

    Parameters
    ----------
    objects
        The number of objects with generated names.
    alerts_each
        The number of alerts of each of these.
    named
        Additional objects by name, with the number of their alerts.
    nights
        The number of nights over which the alerts are spread.
    random
        The random generator.
    """
    counts = np.concatenate([np.full(objects, alerts_each), np.array(list(named.values()), dtype=np.int64)])
    owner = np.repeat(np.arange(len(counts)), counts)
    turn = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    night = random.integers(0, nights, len(owner))
    # the alerts of an object are in different parts of the night, so no two have the same time
    part = (turn + random.uniform(0.05, 0.95, len(owner))) / np.repeat(counts, counts)
    jd = np.round(FIRST_NIGHT_JD + night + DUSK + DARK_DAYS * part, 7)
    order = np.argsort(jd, kind="stable")
    total = len(counts)
    return Sky(
        names=_names(objects, list(named)),
        ra=random.uniform(0.0, 360.0, total),
        dec=np.degrees(np.arcsin(random.uniform(-0.5, 1.0, total))),
        magnitude=random.uniform(15.0, 20.5, total).astype(np.float32),
        kind=pa.array(CLASSES).take(pa.array(random.integers(0, len(CLASSES), total))),
        owner=owner[order],
        jd=jd[order],
        night=night[order],
        fid=random.integers(1, 4, len(owner)).astype(np.int32)[order],
    )


def _names(count: int, named: list[str]) -> pa.StringArray:
    """Return generated names, different from the given ones, followed by the given ones."""
    wanted = pa.array(named, pa.string())
    own = object_names(count + len(named))
    own = own.filter(pc.invert(pc.is_in(own, wanted)))[:count]
    return pa.concat_arrays([own, wanted])


def object_names(count: int) -> pa.StringArray:
    """Return distinct names in the format of the survey.

    >>> object_names(2).to_pylist()
    ['ZTF22aaaaaaa', 'ZTF22aaaaaab']
    """
    digits = np.arange(count)[:, None] // 26 ** np.arange(LETTERS - 1, -1, -1) % 26
    text = np.concatenate([np.tile(np.frombuffer(b"ZTF22", np.uint8), (count, 1)), (digits + ord("a")).astype(np.uint8)], axis=1)
    offsets = np.arange(0, text.size + 1, 5 + LETTERS, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes()))
