"""Reordering of rows from descending row key to descending time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from flight_server.planning.cursors import lost_place
from flight_server.storage.scans import Rows

__all__ = ["after_row", "newest_first"]

Times = npt.NDArray[np.float64]


def newest_first(rows: Iterator[Rows], time: str, text_of: Callable[[bytes], str]) -> Iterator[Rows]:
    """Sort the rows of each whole day by descending time, then by ascending key; days stay in the order of their keys.

    Row keys have the time as text, followed by a separator, so that `2459092.5` sorts after `2459092.51`. So in descending
    key order, a time comes too early only before later times whose text begins with its own. A row is held back until no
    more of those can come, which is rarely long. Days are in the order of time if all have the same number of digits, as
    all Julian dates from 1975 BC to the year 22666 do. The order depends on the rows alone, not on how they are batched.

    Parameters
    ----------
    rows
        Rows by descending row key; the part of the keys before the time is the same for all.
    time
        The time column; without nulls.
    text_of
        Return the text of the time in a row key.
    """
    waiting: list[Rows] = []
    for some in rows:
        held = Rows.concat([*waiting, some])
        times = _times(held, time)
        wait = np.isin(times, _beginnings(text_of(bytes(held.keys[-1])), times.dtype))
        yield from _sorted(held, times, np.flatnonzero(~wait))
        waiting = list(_sorted(held, times, np.flatnonzero(wait), turned=False))
    if waiting:
        held = Rows.concat(waiting)
        yield from _sorted(held, _times(held, time), np.arange(len(held)))


def after_row(rows: Iterator[Rows], key: bytes) -> Iterator[Rows]:
    """Drop rows up to the one with a key, which is one of them.

    Raises
    ------
    CursorMismatch
        There is no such row.
    """
    reached = False
    for some in rows:
        if reached:
            yield some
            continue
        found = np.flatnonzero(some.keys == key)
        if len(found):
            reached = True
            first = int(found[0]) + 1
            if first < len(some):
                yield some.slice(first, len(some) - first)
    if not reached:
        raise lost_place()


def _times(rows: Rows, time: str) -> Times:
    found: Times = rows.batch[time].to_numpy(zero_copy_only=False)
    return found


def _beginnings(text: str, kind: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """Return the numbers whose text is a beginning of a number's text, including the number itself.

    >>> _beginnings("2459092.51", np.float64).tolist()
    [2459092.5, 2459092.51]
    """
    point = text.find(".")
    ends = range(point + 2, len(text) + 1) if point >= 0 else [len(text)]
    return np.array([value for end in ends if (value := _number(text[:end])) is not None], dtype=kind)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # of an exponent
        return None


def _sorted(rows: Rows, times: Times, chosen: npt.NDArray[np.intp], *, turned: bool = True) -> Iterator[Rows]:
    """Yield the chosen rows: sorted within each day, or in their present order if not `turned`."""
    if not len(chosen):
        return
    order = chosen
    if turned:
        days = np.trunc(times[chosen])
        day = np.append(0, np.cumsum(days[1:] != days[:-1]))
        order = chosen[np.lexsort((rows.keys[chosen], -times[chosen], day))]
    if np.array_equal(order, np.arange(len(order))):
        yield rows.slice(0, len(order))
    else:
        yield rows.take(order)
