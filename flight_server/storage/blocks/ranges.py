"""Byte ranges of a file, read with as few requests as pays."""

from __future__ import annotations

from collections.abc import Sequence

from flight_server.storage.blocks.files import BlockFile

__all__ = ["read_ranges"]

GAP_BYTES = 65_536  # a request of its own costs more than reading over so much


def read_ranges(file: BlockFile, ranges: Sequence[tuple[int, int]]) -> tuple[list[memoryview], int]:
    """Read ranges (offset, length) that ascend and do not overlap; gives also how many bytes were read in all."""
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
