"""Positions of the pages of a chunk: from its offset index, or by walking the page headers."""

from __future__ import annotations

from dataclasses import dataclass

from flight_server.storage.blocks.compact import CompactReader
from flight_server.storage.blocks.files import BlockFault, BlockFile, Content
from flight_server.storage.blocks.footers import Chunk

__all__ = ["Page", "Pages", "check_page", "pages_by_index", "walk_bytes", "walk_file"]

HEADER_BYTES = 512  # most headers are smaller; those with statistics of long values are larger
LONGEST_HEADER = 1_048_576
WINDOW_BYTES = 1_048_576
SMALL_PAGE = 131_072

# fields of PageHeader, DataPageHeader and DataPageHeaderV2
TYPE, SIZE, DATA_HEADER, DATA_HEADER_V2 = 1, 3, 5, 8
VALUES, ENCODING, ROWS_V2, ENCODING_V2 = 1, 2, 3, 4
DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 1, 2, 3
DICTIONARY_ENCODINGS = (2, 8)


@dataclass(frozen=True, slots=True)
class Page:
    """A data page: its range of bytes in the file, including the header, and its rows in the row group."""

    start: int
    size: int
    first_row: int
    rows: int


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of a chunk: data pages by row, and the byte range of the dictionary page if there is one."""

    data: tuple[Page, ...]
    dictionary: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class _Header:
    kind: int
    size: int  # of the page, including the header
    rows: int
    encoding: int


def pages_by_index(encoded: Content, chunk: Chunk) -> Pages:
    """Parse the offset index of a chunk.

    Raises
    ------
    BlockFault
        The index does not match the chunk.
    """
    try:
        locations = CompactReader(encoded).struct()[1]
        places = [(location[1], location[2], location[3]) for location in locations]
    except (ValueError, KeyError, TypeError) as error:
        raise BlockFault("block_damaged", "an offset index cannot be read") from error
    pages: list[Page] = []
    stops = [first for _, _, first in places[1:]] + [chunk.rows]
    end = chunk.start
    for (start, size, first), stop in zip(places, stops, strict=True):
        if start < end or size <= 0 or stop <= first or first != (pages[-1].first_row + pages[-1].rows if pages else 0):
            raise BlockFault("block_damaged", "an offset index does not match its chunk")
        pages.append(Page(start, size, first, stop - first))
        end = start + size
    if end > chunk.stop or not pages:
        raise BlockFault("block_damaged", "an offset index does not match its chunk")
    # bytes before the first data page are the dictionary
    front = pages[0].start - chunk.start
    return Pages(tuple(pages), (chunk.start, front) if front else None)


def walk_file(file: BlockFile, chunk: Chunk) -> tuple[Pages, int]:
    """Find the pages of a chunk by reading little more than their headers; return them and the bytes read."""
    walk = _Walk(chunk)
    data: Content = b""
    start = chunk.start
    taken = 0
    window = HEADER_BYTES
    while walk.place < chunk.stop:
        try:
            header = _read_header(data, walk.place - start)
        except ValueError as error:
            if start == walk.place and (start + len(data) == chunk.stop or window > LONGEST_HEADER):
                raise BlockFault("block_damaged", "a page header cannot be read") from error
            window = window * 16 if start == walk.place and data else window
            start = walk.place
            data = file.read(start, min(window, chunk.stop - start))
            taken += len(data)
            continue
        walk.step(header)
        # small pages are cheaper to read through than to skip
        window = HEADER_BYTES if header.size > SMALL_PAGE else WINDOW_BYTES
    return walk.done(), taken


def walk_bytes(data: Content, chunk: Chunk) -> Pages:
    """Find the pages of a chunk in its bytes."""
    walk = _Walk(chunk)
    while walk.place < chunk.stop:
        try:
            header = _read_header(data, walk.place - chunk.start)
        except ValueError as error:
            raise BlockFault("block_damaged", "a page header cannot be read") from error
        walk.step(header)
    return walk.done()


def check_page(data: memoryview, page: Page) -> bool:
    """Check that bytes are one data page with the expected number of rows; return whether it needs the dictionary.

    Raises
    ------
    BlockFault
        The bytes are something else.
    """
    try:
        header = _read_header(data)
    except ValueError as error:
        raise BlockFault("block_damaged", "a page header cannot be read") from error
    if header.kind not in (DATA_PAGE, DATA_PAGE_V2) or (header.rows, header.size) != (page.rows, page.size):
        raise BlockFault("block_damaged", "a page does not match the offset index")
    return header.encoding in DICTIONARY_ENCODINGS


class _Walk:
    """A walk over the page headers of a chunk."""

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self.place = chunk.start
        self._row = 0
        self._pages: list[Page] = []
        self._dictionary: tuple[int, int] | None = None

    def step(self, header: _Header) -> None:
        size = header.size
        if self.place + size > self._chunk.stop:
            raise BlockFault("block_damaged", "a page extends beyond its chunk")
        if header.kind in (DATA_PAGE, DATA_PAGE_V2):
            self._pages.append(Page(self.place, size, self._row, header.rows))
            self._row += header.rows
        elif header.kind == DICTIONARY_PAGE and self._dictionary is None and not self._pages:
            self._dictionary = (self.place, size)
        elif header.kind != INDEX_PAGE:
            raise BlockFault("block_damaged", "a page has an unknown type")
        self.place += size

    def done(self) -> Pages:
        if self._row != self._chunk.rows:
            raise BlockFault("block_damaged", f"its pages have {self._row} rows, the footer says {self._chunk.rows}")
        return Pages(tuple(self._pages), self._dictionary)


def _read_header(data: Content, place: int = 0) -> _Header:
    reader = CompactReader(data, place)
    header = reader.struct()
    inner = header.get(DATA_HEADER) or header.get(DATA_HEADER_V2) or {}
    try:
        kind, size = header[TYPE], header[SIZE]
        # columns without lists have as many values, with nulls, as rows
        rows = encoding = 0
        if kind in (DATA_PAGE, DATA_PAGE_V2):
            second = kind == DATA_PAGE_V2
            rows, encoding = inner[ROWS_V2 if second else VALUES], inner[ENCODING_V2 if second else ENCODING]
    except (KeyError, TypeError) as error:
        raise ValueError("a page header lacks a field") from error
    if any(type(number) is not int or number < 0 for number in (kind, size, rows, encoding)):
        raise ValueError("a page header has a wrong field")
    return _Header(kind, reader.position - place + size, rows, encoding)
