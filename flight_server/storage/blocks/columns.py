"""One column of cutouts of a block: the pages that rows need, and their values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.storage.blocks.files import Content
from flight_server.storage.blocks.index import BlockIndex
from flight_server.storage.blocks.pages import Page, Pages, check_page
from flight_server.storage.blocks.ranges import read_ranges
from flight_server.storage.blocks.views import Part, decode

__all__ = ["BlockColumn", "PlacedPage", "rows_inside"]

BATCH_BYTES = 1_048_576  # pages read and decoded together; beyond this size new memory costs more than requests

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PlacedPage:
    """A page of a block: its row group, and its first row in the block."""

    group: int
    page: Page
    first_row: int


class BlockColumn:
    """A column with known pages.

    Parameters
    ----------
    index
        The block.
    leaf
        The column.
    pages
        Its pages, by row group.
    """

    def __init__(self, index: BlockIndex, leaf: str, pages: Sequence[Pages]) -> None:
        self.index = index
        self._chunks = index.chunks[leaf]
        self._dictionaries = [one.dictionary for one in pages]
        starts = itertools.accumulate((chunk.rows for chunk in self._chunks), initial=0)
        self._pages = [
            PlacedPage(group, page, start + page.first_row)
            for group, (one, start) in enumerate(zip(pages, starts, strict=False))
            for page in one.data
        ]
        self._dictionary: tuple[int, memoryview] | None = None  # of the last row group that needed one

    def batches(self, rows: Rows) -> Iterator[list[PlacedPage]]:
        """Yield batches of the pages that hold these sorted rows, in the order of the file."""
        starts = np.array([one.first_row for one in self._pages])
        some: list[PlacedPage] = []
        size = 0
        for number in np.unique(np.searchsorted(starts, rows, side="right") - 1).tolist():
            one = self._pages[number]
            if some and size + one.page.size > BATCH_BYTES:
                yield some
                some, size = [], 0
            some.append(one)
            size += one.page.size
        if some:
            yield some

    def read(self, pages: Sequence[PlacedPage]) -> tuple[pa.Array, int]:
        """Read and decode pages; return their values and the bytes read.

        Raises
        ------
        BlockFault
            The pages are damaged.
        """
        read, taken = read_ranges(self.index.file, [(one.page.start, one.page.size) for one in pages])
        parts = []
        for group, some in itertools.groupby(zip(pages, read, strict=True), key=lambda pair: pair[0].group):
            data = list(some)
            needed = [check_page(content, one.page) for one, content in data]
            dictionary: Content = b""
            if any(needed):
                dictionary, more = self._read_dictionary(group)
                taken += more
            rows = sum(one.page.rows for one, _ in data)
            parts.append(Part(self._chunks[group], dictionary, [content for _, content in data], rows))
        return decode(parts), taken

    def _read_dictionary(self, group: int) -> tuple[Content, int]:
        place = self._dictionaries[group]
        if place is None:
            return b"", 0  # pages that need one will fail to decode
        if self._dictionary is not None and self._dictionary[0] == group:
            return self._dictionary[1], 0
        offset, length = place
        self._dictionary = (group, memoryview(self.index.file.read(offset, length)))
        return self._dictionary[1], length


def rows_inside(pages: Sequence[PlacedPage], rows: Rows) -> Rows:
    """Convert row numbers of the block to those of the concatenated pages."""
    starts = np.array([one.first_row for one in pages])
    sizes = np.array([one.page.rows for one in pages])
    page = np.searchsorted(starts, rows, side="right") - 1
    inside: Rows = rows - starts[page] + (np.cumsum(sizes) - sizes)[page]
    return inside
