"""Image stamps out of Parquet blocks: of each block one pass for all alerts asked from it, and only the pages needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.declarations import BlockLayout
from flight_server.storage.blocks.columns import BlockColumn, PlacedPage, rows_inside
from flight_server.storage.blocks.files import BlockFault, BlockFile, BlockFiles
from flight_server.storage.blocks.footers import footer_crc
from flight_server.storage.blocks.index import BlockIndex, IndexCache, open_index
from flight_server.storage.blocks.workers import Workers
from flight_server.storage.protocols import StampFailure, Stamps

__all__ = ["BlockCutouts"]

READ_THREADS = 4

Rows = npt.NDArray[np.int64]


class BlockCutouts:
    """A `CutoutStore` over blocks of a file system. Threads may share it.

    Parameters
    ----------
    files
        The file system.
    footer_crc
        Gives the CRC-32 of a block's footer as it was written, or None where that is not known.
    threads
        How many blocks are read at once, for all answers.
    """

    def __init__(
        self, files: BlockFiles, footer_crc: Callable[[str], int | None] = lambda _: None, threads: int = READ_THREADS
    ) -> None:
        self._files = files
        self._footer_crc = footer_crc
        self._workers = Workers(threads)
        self._cache = IndexCache()

    def begin(
        self, layout: BlockLayout, paths: pa.StringArray, object_ids: pa.Array, alert_ids: pa.Array, kinds: Sequence[str]
    ) -> _Reading:
        """Begin to read the stamps of n alerts; see `CutoutStore.begin`."""
        encoded = paths.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        asked = []
        for code, path in enumerate(encoded.dictionary.to_pylist()):
            here = np.flatnonzero(codes == code)
            chosen = pa.array(here)
            asked.append(_Asked(path, here, object_ids.take(chosen), alert_ids.take(chosen)))
        return _Reading(self, layout, asked, len(paths), tuple(kinds))

    def read(
        self, layout: BlockLayout, paths: pa.StringArray, object_ids: pa.Array, alert_ids: pa.Array, kinds: Sequence[str]
    ) -> Stamps:
        """Read the stamps of n alerts, in their order; see `CutoutStore.begin`."""
        reading = self.begin(layout, paths, object_ids, alert_ids, kinds)
        while (stamps := reading.wait(1.0)) is None:
            pass
        return stamps

    def submit(self, work: Callable[[], None]) -> None:
        """Have a reading's work done."""
        self._workers.submit(work)

    def index(self, path: str, layout: BlockLayout) -> tuple[BlockIndex, int]:
        """Open a block, or give what is known of it; gives also the bytes read for that."""
        file = self._files.open(path)
        key = (path, file.version, layout)
        held = self._cache.get(key)
        if held is not None:
            return held, 0
        self._check_footer(path, file)
        made = open_index(file, layout)
        self._cache.put(key, made)
        return made, made.bytes_read

    def forget(self, path: str, layout: BlockLayout, index: BlockIndex) -> None:
        """Forget what is known of a block that was not as it should be."""
        self._cache.drop((path, index.file.version, layout))

    def _check_footer(self, path: str, file: BlockFile) -> None:
        wanted = self._footer_crc(path)
        if wanted is not None and footer_crc(file) != wanted:
            raise BlockFault("block_damaged", "its footer is not what was written")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked from one block: for which rows of the answer, which alerts."""

    path: str
    places: Rows
    object_ids: pa.Array
    alert_ids: pa.Array


class _Reading:
    """Stamps on their way; see `PendingStamps`."""

    def __init__(
        self, cutouts: BlockCutouts, layout: BlockLayout, asked: Sequence[_Asked], rows: int, kinds: tuple[str, ...]
    ) -> None:
        self._cutouts = cutouts
        self._layout = layout
        self._rows = rows
        self._kinds = kinds
        self._found: dict[str, list[tuple[Rows, pa.Array]]] = {kind: [] for kind in kinds}
        self._failures: list[StampFailure] = []
        self._error: Exception | None = None
        self._bytes_read = 0
        self._lock = threading.Lock()
        self._left = len(asked)
        self._cancelled = False
        self._done = threading.Event()
        if not asked:
            self._done.set()
        for one in asked:
            cutouts.submit(lambda one=one: self._work(lambda: self._open(one)))  # type: ignore[misc]

    def wait(self, seconds: float) -> Stamps | None:
        """Wait for the stamps; None while they are not all there."""
        if not self._done.wait(seconds):
            return None
        if self._error is not None:
            raise self._error
        kinds = {kind: _scattered(parts, self._rows) for kind, parts in self._found.items()}
        failures = sorted(self._failures, key=lambda one: (one.row, self._kinds.index(one.kind)))
        return Stamps(kinds, self._bytes_read, tuple(failures))

    def cancel(self) -> None:
        """Let it end early."""
        self._cancelled = True

    def _work(self, work: Callable[[], None]) -> None:
        try:
            if not self._cancelled:
                work()
        except Exception as error:  # noqa: BLE001  (raised again by who waits)
            self._cancelled = True
            with self._lock:
                self._error = self._error or error
        with self._lock:
            self._left -= 1
            if not self._left:
                self._done.set()

    def _open(self, asked: _Asked) -> None:
        try:
            index, taken = self._cutouts.index(asked.path, self._layout)
        except BlockFault as fault:
            self._fail(asked.places, self._kinds, fault.reason)
            return
        rows = index.find(asked.object_ids, asked.alert_ids)
        self._fail(asked.places[rows < 0], self._kinds, "not_in_block")
        with self._lock:
            self._bytes_read += taken
            self._left += len(self._kinds) - 1
        for kind in self._kinds[1:]:
            work = lambda kind=kind: self._read(asked, index, kind, rows)  # noqa: E731
            self._cutouts.submit(lambda work=work: self._work(work))  # type: ignore[misc]
        self._read(asked, index, self._kinds[0], rows)

    def _read(self, asked: _Asked, index: BlockIndex, kind: str, rows: Rows) -> None:
        leaf = self._layout.stamps[kind]
        if leaf not in index.chunks:
            return  # stamps that the block does not keep are not damaged
        held = rows >= 0
        places, rows = asked.places[held], rows[held]
        order = np.argsort(rows, kind="stable")
        places, rows = places[order], rows[order]
        try:
            pages, taken = index.pages_of(leaf)
        except BlockFault as fault:
            self._cutouts.forget(asked.path, self._layout, index)
            self._fail(places, (kind,), fault.reason)
            return
        self._add(taken)
        column = BlockColumn(index, leaf, pages)
        for batch in column.batches(rows):
            if self._cancelled:
                return
            self._read_batch(asked, column, kind, batch, rows, places)

    def _read_batch(  # noqa: PLR0917
        self, asked: _Asked, column: BlockColumn, kind: str, batch: Sequence[PlacedPage], rows: Rows, places: Rows
    ) -> None:
        first, last = np.searchsorted(rows, [batch[0].first_row, batch[-1].first_row + batch[-1].page.rows])
        try:
            values, taken = column.read(batch)
        except BlockFault as fault:
            if len(batch) > 1:  # most of them are whole
                for one in batch:
                    self._read_batch(asked, column, kind, [one], rows, places)
                return
            self._cutouts.forget(asked.path, self._layout, column.index)
            self._fail(places[first:last], (kind,), fault.reason)
            return
        chosen = values.take(pa.array(rows_inside(batch, rows[first:last])))
        with self._lock:
            self._bytes_read += taken
            self._found[kind].append((places[first:last], chosen))

    def _add(self, taken: int) -> None:
        with self._lock:
            self._bytes_read += taken

    def _fail(self, places: Rows, kinds: Sequence[str], reason: str) -> None:
        with self._lock:
            self._failures += [StampFailure(row, kind, reason) for row in places.tolist() for kind in kinds]


def _scattered(parts: Sequence[tuple[Rows, pa.Array]], rows: int) -> pa.BinaryArray:
    """Put values at their places among `rows`, nulls elsewhere."""
    position = np.full(rows, -1)
    if parts:
        order = np.concatenate([places for places, _ in parts])
        position[order] = np.arange(len(order))
    values = pa.concat_arrays([values for _, values in parts]) if parts else pa.array([], pa.binary())
    if len(values) == rows and np.array_equal(position, np.arange(rows)):
        return values
    return values.take(pa.array(position, mask=position < 0))
