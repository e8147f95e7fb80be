"""The index of an open block (IDs and page positions), and a bounded cache of indexes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.declarations import BlockLayout
from flight_server.storage.blocks.files import BlockFault, BlockFile, Content
from flight_server.storage.blocks.footers import TYPES, Chunk, Footer, read_footer
from flight_server.storage.blocks.pages import Pages, pages_by_index, walk_bytes, walk_file
from flight_server.storage.blocks.ranges import read_ranges
from flight_server.storage.blocks.views import Part, decode

__all__ = ["BlockIndex", "IndexCache", "open_index"]

CACHED_BYTES = 134_217_728  # about 700 blocks of 3,000 alerts
PAGE_COST = 160  # bytes of memory per page position


@dataclass(frozen=True, slots=True)
class _Ids:
    """The alerts of a block, sorted by ID."""

    alert_ids: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    object_ids: pa.Array | None  # by row


@dataclass(slots=True)
class BlockIndex:
    """The alerts of a block and the positions of its pages.

    Parameters
    ----------
    file
        The block.
    ids
        The alerts.
    chunks
        The chunks of each column of cutouts, one per row group.
    encoded
        The unparsed offset indexes that were read with the footer.
    bytes_read
        The bytes read to open the block.

    Attributes
    ----------
    cost
        The approximate size in memory, in bytes. It grows as pages are found.
    """

    file: BlockFile
    ids: _Ids
    chunks: dict[str, list[Chunk]]
    encoded: dict[str, list[Content | None]]
    bytes_read: int
    pages: dict[str, list[Pages]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    cost: int = field(init=False)

    def __post_init__(self) -> None:
        """Compute the cost."""
        self._measure()

    def _measure(self) -> None:
        pages = sum(len(one.data) for some in self.pages.values() for one in some)
        encoded = sum(len(one or b"") for some in self.encoded.values() for one in some)
        held = 0 if self.ids.object_ids is None else self.ids.object_ids.nbytes
        self.cost = self.ids.alert_ids.nbytes * 2 + held + encoded + PAGE_COST * (pages + 4 * len(self.chunks))

    def find(self, object_ids: pa.Array, alert_ids: pa.Array) -> npt.NDArray[np.int64]:
        """Return the row of each alert: the first of several, or -1 if the block has no such alert of the object."""
        wanted = alert_ids.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        known = alert_ids.is_valid().to_numpy(zero_copy_only=False)
        ids = self.ids
        rows = np.full(len(wanted), -1)
        place = np.searchsorted(ids.alert_ids, wanted)
        names = None if ids.object_ids is None else object_ids.cast(ids.object_ids.type)
        left = np.flatnonzero(known & (place < len(ids.alert_ids)))
        while len(left):
            left = left[ids.alert_ids[place[left]] == wanted[left]]
            held = ids.rows[place[left]]
            if names is None or ids.object_ids is None:
                same = np.ones(len(left), dtype=bool)
            else:
                equal = pc.equal(ids.object_ids.take(pa.array(held)), names.take(pa.array(left)))
                same = pc.fill_null(equal, fill_value=False).to_numpy(zero_copy_only=False)
            rows[left[same]] = held[same]
            left = left[~same]
            place[left] += 1
            left = left[place[left] < len(ids.alert_ids)]
        return rows

    def pages_of(self, leaf: str) -> tuple[list[Pages], int]:
        """Return the pages of a column by row group, and the bytes read for them."""
        with self.lock:
            if leaf in self.pages:
                return self.pages[leaf], 0
            found, taken = self._find_pages(leaf)
            self.pages[leaf] = found
            self.encoded.pop(leaf, None)
            self._measure()
            return found, taken

    def _find_pages(self, leaf: str) -> tuple[list[Pages], int]:
        chunks = self.chunks[leaf]
        encoded = list(self.encoded[leaf])
        away = [(place, chunk.index) for place, chunk in enumerate(chunks) if chunk.index and encoded[place] is None]
        read, taken = read_ranges(self.file, [index for _, index in away if index])
        for (place, _), content in zip(away, read, strict=True):
            encoded[place] = content
        found = []
        for chunk, data in zip(chunks, encoded, strict=True):
            if data is not None:
                found.append(pages_by_index(data, chunk))
            else:
                pages, walked = walk_file(self.file, chunk)
                found.append(pages)
                taken += walked
        return found, taken


def open_index(file: BlockFile, layout: BlockLayout) -> BlockIndex:
    """Read the footer and the IDs of a block.

    Raises
    ------
    BlockFault
        The file is not a block of the layout, or it is damaged.
    """
    footer = read_footer(file)
    leaves = [leaf for leaf in (layout.alert_id, layout.object_id) if leaf is not None]
    columns, taken = _read_columns(file, [footer.chunks(leaf) for leaf in leaves])
    chunks = {leaf: footer.chunks(leaf) for leaf in layout.stamps.values() if leaf in footer.leaves}
    if any(chunk.type != TYPES["BYTE_ARRAY"] for some in chunks.values() for chunk in some):
        raise BlockFault("block_damaged", "its cutouts are not binary")
    encoded = {leaf: [_encoded_index(chunk, footer) for chunk in some] for leaf, some in chunks.items()}
    ids = _ids(columns[0], columns[1] if len(columns) > 1 else None)
    return BlockIndex(file, ids, chunks, encoded, len(footer.tail) + taken)


class IndexCache:
    """A thread-safe LRU cache of indexes, by path, version and layout, bounded by their total cost."""

    def __init__(self, most: int = CACHED_BYTES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: OrderedDict[object, tuple[BlockIndex, int]] = OrderedDict()  # each with the cost that was counted
        self._total = 0

    def get(self, key: object) -> BlockIndex | None:
        """Return a cached index, or None."""
        with self._lock:
            if key not in self._held:
                return None
            index = self._held[key][0]
            self._count(key, index)  # it may have grown
            return index

    def put(self, key: object, index: BlockIndex) -> None:
        """Cache an index, and evict those least recently used."""
        with self._lock:
            self._count(key, index)

    def drop(self, key: object, index: BlockIndex) -> None:
        """Evict an index, unless another one has taken its place."""
        with self._lock:
            if key in self._held and self._held[key][0] is index:
                self._total -= self._held.pop(key)[1]

    def _count(self, key: object, index: BlockIndex) -> None:
        self._total -= self._held.pop(key, (index, 0))[1]
        cost = index.cost
        self._held[key] = (index, cost)
        self._total += cost
        while len(self._held) > 1 and self._total > self._most:
            _, (_, freed) = self._held.popitem(last=False)
            self._total -= freed


def _encoded_index(chunk: Chunk, footer: Footer) -> Content | None:
    if chunk.index is None:
        return None
    begin = chunk.index[0] - footer.tail_start
    return footer.tail[begin : begin + chunk.index[1]] if begin >= 0 else None


def _read_columns(file: BlockFile, columns: Sequence[list[Chunk]]) -> tuple[list[pa.Array], int]:
    """Read whole columns, with one request for those close together."""
    places = sorted({(chunk.start, chunk.stop - chunk.start) for chunks in columns for chunk in chunks})
    read, taken = read_ranges(file, places)
    data = {start: content for (start, _), content in zip(places, read, strict=True)}
    made = []
    for chunks in columns:
        parts = []
        for chunk in chunks:
            content = data[chunk.start]
            pages = walk_bytes(content, chunk)
            split = pages.dictionary[1] if pages.dictionary else 0
            parts.append(Part(chunk, content[:split], [content[split:]], chunk.rows))
        made.append(decode(parts) if parts else pa.nulls(0))
    return made, taken


def _ids(alert_ids: pa.Array, object_ids: pa.Array | None) -> _Ids:
    try:
        numbers = alert_ids.cast(pa.int64())
        names = None if object_ids is None else object_ids.cast(pa.string() if _is_text(object_ids) else object_ids.type)
    except pa.ArrowException as error:
        raise BlockFault("block_damaged", "its IDs have another type") from error
    held = np.flatnonzero(numbers.is_valid().to_numpy(zero_copy_only=False))
    values = numbers.fill_null(0).to_numpy(zero_copy_only=False)[held]
    order = np.argsort(values, kind="stable")
    return _Ids(values[order], held[order], names)


def _is_text(values: pa.Array) -> bool:
    return bool(pa.types.is_binary(values.type) or pa.types.is_string(values.type))
