"""Reading of byte ranges of a file, with few requests."""

from __future__ import annotations

from collections.abc import Sequence

from flight_server.storage.blocks.files import BlockFile

__all__ = ["read_ranges"]

GAP_BYTES = 65_536  # reading through a gap of this size is cheaper than another request


def read_ranges(file: BlockFile, ranges: Sequence[tuple[int, int]]) -> tuple[list[memoryview], int]:
    """Read ascending, disjoint ranges (offset, length); return their bytes and the total number of bytes read."""
    found: list[memoryview] = []
    taken = 0
    first = 0
    while first < len(ranges):
        start, length = ranges[first]
        stop = start + length
        last = first + 1
        while last < len(ranges) and ranges[last][0] - stop <= GAP_BYTES:
            stop = ranges[last][0] + ranges[last][1]
            last += 1
        data = memoryview(file.read(start, stop - start))
        taken += stop - start
        found += [data[offset - start : offset - start + size] for offset, size in ranges[first:last]]
        first = last
    return found, taken
