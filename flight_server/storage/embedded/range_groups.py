"""The order in which the ranges of a scan are read: in groups that fit into memory, from either end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.storage.scans import Rows

__all__ = ["GROUP_BYTES", "range_groups", "turned"]

GROUP_BYTES = 1_310_720
FIRST_GROUP_BYTES = 131_072  # small, so that the first rows are sent at once


def turned(rows: Iterator[Rows]) -> Iterator[Rows]:
    """Yield the rows of a group in reverse order."""
    for some in reversed(list(rows)):
        order = np.arange(len(some.keys) - 1, -1, -1)
        yield Rows(some.batch.take(pa.array(order)), some.request_index[::-1], some.keys[::-1])


def range_groups(counts: npt.NDArray[np.int64], row_bytes: float, reverse: bool) -> Iterator[tuple[int, int]]:
    """Yield groups [first, last) of ranges of about `GROUP_BYTES`, the first one smaller; if `reverse`, from the end."""
    if reverse:
        size = len(counts)
        yield from ((size - last, size - first) for first, last in range_groups(counts[::-1], row_bytes, reverse=False))
        return
    ends = np.cumsum(counts)
    first, size = 0, FIRST_GROUP_BYTES
    while first < len(counts):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + max(1, size / row_bytes), side="right")))
        if ends[last - 1] > done:
            yield first, last
        first, size = last, GROUP_BYTES
