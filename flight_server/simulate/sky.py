"""The simulated sky: its objects, and the times at which each is observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.simulate.recipes import Names, Recipe

__all__ = ["Sky", "make_sky", "object_names"]

CLASSES = ("Unknown", "QSO", "RRLyr", "EB*", "Galaxy", "Star", "Mira", "AGN", "Candidate_SN*", "BLLac", "YSO", "WD*")


@dataclass(frozen=True, slots=True)
class Sky:
    """Objects, and their alerts in order of time.

    `names`, `ra`, `dec` (deg), `magnitude` and `kind` have one entry per object; `owner` (its object), `time` (as the survey
    has it), `night` (from 0) and `band` one per alert.
    """

    names: pa.Array
    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]
    magnitude: npt.NDArray[np.float32]
    kind: pa.StringArray
    owner: npt.NDArray[np.int64]
    time: npt.NDArray[np.float64]
    night: npt.NDArray[np.int64]
    band: pa.Array


def make_sky(
    recipe: Recipe, objects: int, alerts_each: int, named: dict[str, int], nights: int, *, random: np.random.Generator
) -> Sky:
    """Return a random sky; the same for the same arguments and seed.

    Parameters
    ----------
    recipe
        What is particular to the survey.
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
    time = np.round(recipe.night.first + night + recipe.night.dusk + recipe.night.dark * part, 7)
    order = np.argsort(time, kind="stable")
    total = len(counts)
    return Sky(
        names=_names(recipe.names, objects, list(named)),
        ra=random.uniform(0.0, 360.0, total),
        dec=np.degrees(np.arcsin(random.uniform(*recipe.sines, total))),
        magnitude=random.uniform(15.0, 20.5, total).astype(np.float32),
        kind=pa.array(CLASSES).take(pa.array(random.integers(0, len(CLASSES), total))),
        owner=owner[order],
        time=time[order],
        night=night[order],
        band=pa.array(recipe.bands).take(pa.array(random.integers(0, len(recipe.bands), len(owner))[order])),
    )


def _names(names: Names, count: int, named: list[str]) -> pa.Array:
    """Return generated names, different from the given ones, followed by the given ones."""
    own = object_names(names, count + len(named))
    wanted = pa.array(named, pa.string()).cast(own.type)
    own = own.filter(pc.invert(pc.is_in(own, wanted)))[:count]
    return pa.concat_arrays([own, wanted])


def object_names(names: Names, count: int) -> pa.Array:
    """Return distinct names in the format of the survey.

    >>> object_names(Names(prefix="ZTF22", letters=7), 2).to_pylist(), object_names(Names(first=17), 2).to_pylist()
    (['ZTF22aaaaaaa', 'ZTF22aaaaaab'], [17, 18])
    """
    if names.first is not None:
        return pa.array(np.arange(names.first, names.first + count))
    digits = np.arange(count)[:, None] // 26 ** np.arange(names.letters - 1, -1, -1) % 26
    prefix = np.frombuffer(names.prefix.encode(), np.uint8)
    text = np.concatenate([np.tile(prefix, (count, 1)), (digits + ord("a")).astype(np.uint8)], axis=1)
    offsets = np.arange(0, text.size + 1, len(prefix) + names.letters, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes()))
