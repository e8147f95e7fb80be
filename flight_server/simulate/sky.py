"""The simulated sky: which objects there are, and when each is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Sky", "make_sky", "object_names"]

LETTERS = 7
FIRST_NIGHT_JD = 2_459_580.5  # 2022-01-01
DUSK, DARK_DAYS = 0.60, 0.40  # the part of a day, in UTC, that is night at Palomar
CLASSES = ("Unknown", "QSO", "RRLyr", "EB*", "Galaxy", "Star", "Mira", "AGN", "Candidate_SN*", "BLLac", "YSO", "WD*")


@dataclass(frozen=True, slots=True)
class Sky:
    """Objects, and their alerts in order of time.

    `names`, `ra`, `dec` (deg), `magnitude` and `kind` have one entry an object; `owner` (its object), `jd`,
    `night` (from 0) and `fid` one an alert.
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
    """Draw a sky; the same for the same arguments and seed.

    Parameters
    ----------
    objects
        How many objects without a wanted name.
    alerts_each
        The alerts of each of those.
    named
        Further objects by name, with the number of their alerts.
    nights
        Over how many nights the alerts are spread.
    random
        Where chance comes from.
    """
    counts = np.concatenate([np.full(objects, alerts_each), np.array(list(named.values()), dtype=np.int64)])
    owner = np.repeat(np.arange(len(counts)), counts)
    turn = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    night = random.integers(0, nights, len(owner))
    # an object's alerts fall into different parts of the night, so that no two have one time
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
    """Give names of our own, none of them a wanted one, and the wanted ones after them."""
    wanted = pa.array(named, pa.string())
    own = object_names(count + len(named))
    own = own.filter(pc.invert(pc.is_in(own, wanted)))[:count]
    return pa.concat_arrays([own, wanted])


def object_names(count: int) -> pa.StringArray:
    """Give names as the survey gives them, all different.

    >>> object_names(2).to_pylist()
    ['ZTF22aaaaaaa', 'ZTF22aaaaaab']
    """
    digits = np.arange(count)[:, None] // 26 ** np.arange(LETTERS - 1, -1, -1) % 26
    text = np.concatenate([np.tile(np.frombuffer(b"ZTF22", np.uint8), (count, 1)), (digits + ord("a")).astype(np.uint8)], axis=1)
    offsets = np.arange(0, text.size + 1, 5 + LETTERS, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes()))
