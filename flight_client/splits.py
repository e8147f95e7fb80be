"""The split of objects into training, validation and test sets, fixed by the ID alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flight_server.protocol.errors import BadValue

__all__ = ["FRACTIONS", "in_split", "place_of"]

FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}
TOLERANCE = 1e-9


def place_of(name: str | int) -> float:
    """Return the number in [0, 1) that decides the split of an object.

    It is the first 53 bits of the BLAKE2b hash (8 bytes, big-endian) of the ID as UTF-8 text, divided by 2 to the power
    of 53: the same in every process, on every machine and in every version.

    >>> place_of("ZTF20abfcszi"), place_of(170587115523932323) == place_of("170587115523932323")
    (0.8637830409251693, True)
    """
    digest = hashlib.blake2b(str(name).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def in_split(ids: Iterable[Any], split: str, fractions: Mapping[str, float] | None = None) -> npt.NDArray[np.bool_]:
    """Return a mask of the objects that are in a split.

    Parameters
    ----------
    ids
        The objects.
    split
        The name of the split.
    fractions
        All splits with their fractions of the objects, in order: consecutive intervals from 0 to 1.

    Raises
    ------
    BadValue
        The split does not exist, or the fractions do not add up to 1.
    """
    low, high = bounds(split, fractions)
    places = np.array([place_of(name) for name in ids], np.float64)
    chosen: npt.NDArray[np.bool_] = (places >= low) & (places < high)
    return chosen


def bounds(split: str, fractions: Mapping[str, float] | None = None) -> tuple[float, float]:
    """Return the interval of a split in [0, 1]."""
    fractions = FRACTIONS if fractions is None else fractions
    if split not in fractions:
        raise BadValue(f"split must be one of {', '.join(fractions)}, not {split!r:.40}", field="split", value=split)
    if min(fractions.values()) < 0 or abs(sum(fractions.values()) - 1) > TOLERANCE:
        raise BadValue(f"fractions must be positive and add up to 1, not {dict(fractions)}", field="fractions")
    names = list(fractions)
    ends = np.cumsum(list(fractions.values()))
    number = names.index(split)
    return float(ends[number - 1]) if number else 0.0, float(ends[number]) if number < len(names) - 1 else 1.0
