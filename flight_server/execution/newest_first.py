"""Rows by time, the newest first, out of rows by row key, the last first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from flight_server.storage.scans import Rows

__all__ = ["newest_first"]

Times = npt.NDArray[np.float64]


def newest_first(rows: Iterator[Rows], time: str) -> Iterator[Rows]:
    """Bring rows into descending order of their time, those of one time into ascending order of their keys.

    Times stand in row keys as text with something behind it, so that `2459092.5` comes behind `2459092.51`. Where
    rows come by descending keys, a time comes too soon only in front of later ones whose text begins with its own. So
    a row waits until no more of those can come, and hardly any waits long.

    Parameters
    ----------
    rows
        Rows by descending row key; what stands in front of the time in the keys is the same for all.
    time
        The column of the time, which may not be null.
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
    """Give the numbers whose text is a beginning of a number's text, itself included.

    >>> _beginnings(2459092.51).tolist()
    [2459092.5, 2459092.51]
    """
    text = str(np.format_float_positional(value, trim="0"))
    point = text.index(".")
    return np.array([float(text[:end]) for end in range(point + 2, len(text) + 1)])


def _sorted(rows: Rows, times: Times, chosen: npt.NDArray[np.intp], *, turned: bool = True) -> Iterator[Rows]:
    """Give some of the rows, in their new order or, not turned, as they came."""
    if not len(chosen):
        return
    order = chosen[np.lexsort((rows.keys[chosen], -times[chosen]))] if turned else chosen
    if np.array_equal(order, np.arange(len(order))):
        yield rows.slice(0, len(order))
    else:
        yield rows.take(order)
