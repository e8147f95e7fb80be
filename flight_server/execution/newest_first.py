"""Reordering of rows from descending row key to descending time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from flight_server.storage.scans import Rows

__all__ = ["newest_first"]

Times = npt.NDArray[np.float64]


def newest_first(rows: Iterator[Rows], time: str) -> Iterator[Rows]:
    """Sort rows by descending time, then by ascending key.

    Row keys have the time as text, followed by a separator, so that `2459092.5` sorts after `2459092.51`. So in descending
    key order, a time comes too early only before later times whose text begins with its own. A row is held back until no
    more of those can come, which is rarely long.

    Parameters
    ----------
    rows
        Rows by descending row key; the part of the keys before the time is the same for all.
    time
        The time column; without nulls.
    """
    waiting: list[Rows] = []
    for some in rows:
        held = Rows.concat([*waiting, some])
        times = _times(held, time)
        wait = np.isin(times, _beginnings(float(times[-1])))
        yield from _sorted(held, times, np.flatnonzero(~wait))
        waiting = list(_sorted(held, times, np.flatnonzero(wait), turned=False))
    if waiting:
        held = Rows.concat(waiting)
        yield from _sorted(held, _times(held, time), np.arange(len(held)))


def _times(rows: Rows, time: str) -> Times:
    found: Times = rows.batch[time].to_numpy(zero_copy_only=False)
    return found


def _beginnings(value: float) -> Times:
    """Return the numbers whose text is a prefix of a number's text, including the number itself.

    >>> _beginnings(2459092.51).tolist()
    [2459092.5, 2459092.51]
    """
    text = str(np.format_float_positional(value, trim="0"))
    point = text.index(".")
    return np.array([float(text[:end]) for end in range(point + 2, len(text) + 1)])


def _sorted(rows: Rows, times: Times, chosen: npt.NDArray[np.intp], *, turned: bool = True) -> Iterator[Rows]:
    """Yield the chosen rows: sorted, or in their present order if not `turned`."""
    if not len(chosen):
        return
    order = chosen[np.lexsort((rows.keys[chosen], -times[chosen]))] if turned else chosen
    if np.array_equal(order, np.arange(len(order))):
        yield rows.slice(0, len(order))
    else:
        yield rows.take(order)
