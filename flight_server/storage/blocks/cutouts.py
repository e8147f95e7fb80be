"""Cutouts from Parquet blocks: one pass per block for all requested alerts, reading only the needed pages."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.declarations import BlockLayout
from flight_server.protocol.deadlines import Deadline
from flight_server.protocol.errors import AlertflightError, InternalError
from flight_server.storage.blocks.columns import BlockColumn, PlacedPage, rows_inside
from flight_server.storage.blocks.files import BlockFault, BlockFile, BlockFiles
from flight_server.storage.blocks.footers import footer_crc
from flight_server.storage.blocks.index import BlockIndex, IndexCache, open_index
from flight_server.storage.blocks.workers import Workers
from flight_server.storage.protocols import StampFailure, Stamps

__all__ = ["BlockCutouts"]

READ_THREADS = 4
STALL_SECONDS = 10.0  # without a piece of work done, after which a lost service is looked for

Rows = npt.NDArray[np.int64]

log = logging.getLogger(__name__)


class BlockCutouts:
    """A `CutoutStore` over blocks of a file system. Threads may share it.

    Parameters
    ----------
    files
        The file system.
    footer_crc
        Returns the CRC-32 of a block's footer as written, or None if unknown.
    threads
        How many blocks are read in parallel, over all answers.
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
        """Begin to read the cutouts of n alerts; see `CutoutStore.begin`."""
        encoded = paths.dictionary_encode()
        self._files.check(encoded.dictionary.to_pylist())
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        order = np.argsort(codes, kind="stable")
        ends = np.searchsorted(codes[order], np.arange(-1, len(encoded.dictionary)), side="right").tolist()
        requests = []
        for path, (first, last) in zip(encoded.dictionary.to_pylist(), itertools.pairwise(ends), strict=True):
            here = order[first:last]
            chosen = pa.array(here)
            requests.append(_BlockRequest(path, here, object_ids.take(chosen), alert_ids.take(chosen)))
        return _Reading(self, layout, requests, len(paths), tuple(kinds))

    def read(
        self, layout: BlockLayout, paths: pa.StringArray, object_ids: pa.Array, alert_ids: pa.Array, kinds: Sequence[str]
    ) -> Stamps:
        """Read the cutouts of n alerts, in their order; see `CutoutStore.begin`."""
        reading = self.begin(layout, paths, object_ids, alert_ids, kinds)
        while (stamps := reading.wait(1.0)) is None:
            pass
        return stamps

    def submit(self, reading: _Reading, work: Callable[[], None], served: int) -> None:
        """Submit work of a read, for which some was done before, to the threads that all reads share."""
        self._workers.submit(reading, work, served)

    def await_services(self, deadline: Deadline) -> bool:
        """Wait until the services of the file system answer; see `CutoutStore.await_services`."""
        return self._files.await_services(deadline)

    def stalled(self) -> AlertflightError | None:
        """Look for the service that reads wait for; return the error if there is one, and give up the threads that wait."""
        error = self._files.stalled()
        if error is not None:
            self._workers.give_up(STALL_SECONDS)
        return error

    def drop(self, reading: _Reading) -> int:
        """Forget the work of a read that has not begun; return how many pieces these were."""
        return self._workers.drop(reading)

    def index(self, path: str, layout: BlockLayout) -> tuple[BlockIndex, int]:
        """Return the index of a block, from the cache or by opening it, and the bytes read for it."""
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
        """Drop the cached index of a block with faults."""
        self._cache.drop((path, index.file.version, layout), index)

    def _check_footer(self, path: str, file: BlockFile) -> None:
        wanted = self._footer_crc(path)
        if wanted is not None and footer_crc(file) != wanted:
            raise BlockFault("block_damaged", "its footer is not what was written")


@dataclass(frozen=True, slots=True)
class _BlockRequest:
    """The request for one block: rows of the answer, and their alerts."""

    path: str
    places: Rows
    object_ids: pa.Array
    alert_ids: pa.Array


@dataclass(frozen=True, slots=True)
class _KindRequest:
    """The request for one kind of cutout of an open block: rows of the block, ascending, and rows of the answer."""

    path: str
    index: BlockIndex
    kind: str
    rows: Rows
    places: Rows


class _Reading:
    """A read in progress; see `PendingStamps`."""

    def __init__(
        self, cutouts: BlockCutouts, layout: BlockLayout, requests: Sequence[_BlockRequest], rows: int, kinds: tuple[str, ...]
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
        self._left = len(requests)
        self._served = 0  # pieces of work that were begun
        self._cancelled = False
        self._progress = time.monotonic()  # when a piece of work was done last
        self._done = threading.Event()
        if not requests:
            self._done.set()
        for one in requests:
            self._submit(self._open, one)

    def wait(self, seconds: float) -> Stamps | None:
        """Wait for the cutouts; return None on timeout."""
        if not self._done.wait(seconds):
            if time.monotonic() - self._progress > STALL_SECONDS:
                self._progress = time.monotonic()
                if (error := self._cutouts.stalled()) is not None:
                    self._end(error)
                    raise error
            return None
        if self._error is not None:
            raise self._error
        kinds = {kind: _scattered(parts, self._rows) for kind, parts in self._found.items()}
        failures = sorted(self._failures, key=lambda one: (one.row, self._kinds.index(one.kind)))
        return Stamps(kinds, self._bytes_read, tuple(failures))

    def cancel(self) -> None:
        """Stop the read early."""
        self._cancelled = True
        self._ended(self._cutouts.drop(self))

    def _submit(self, do: Callable[..., None], *parameters: object) -> None:
        """Queue a piece of work, which `_left` counts already."""
        self._cutouts.submit(self, partial(self._work, partial(do, *parameters)), self._served)

    def _work(self, work: Callable[[], None]) -> None:
        """Run a part of the work; `wait` raises its errors, or it would never return."""
        with self._lock:
            self._served += 1
        try:
            if not self._cancelled:
                work()
        except Exception as error:  # noqa: BLE001
            self._end(error)
        except BaseException:
            log.exception("reading a block failed unexpectedly")
            self._end(InternalError("reading a block failed unexpectedly"))
        self._ended(1)

    def _ended(self, pieces: int) -> None:
        """Count pieces of work that are done or dropped."""
        with self._lock:
            self._progress = time.monotonic()
            self._left -= pieces
            if not self._left:
                self._done.set()

    def _end(self, error: Exception) -> None:
        with self._lock:
            self._error = self._error or error
        self.cancel()

    def _open(self, request: _BlockRequest) -> None:
        try:
            index, taken = self._cutouts.index(request.path, self._layout)
        except BlockFault as fault:
            self._fail(request.places, self._kinds, fault.reason)
            return
        rows = index.find(request.object_ids, request.alert_ids)
        self._fail(request.places[rows < 0], self._kinds, "not_in_block")
        held = np.flatnonzero(rows >= 0)
        held = held[np.argsort(rows[held], kind="stable")]
        wanted = [_KindRequest(request.path, index, kind, rows[held], request.places[held]) for kind in self._kinds]
        with self._lock:
            self._bytes_read += taken
            self._left += len(wanted) - 1
        for one in wanted[1:]:
            self._submit(self._read, one)
        self._read(wanted[0])

    def _read(self, wanted: _KindRequest) -> None:
        leaf = self._layout.stamps[wanted.kind]
        if leaf not in wanted.index.chunks:
            return  # cutouts that the block does not hold are not damaged
        try:
            pages, taken = wanted.index.pages_of(leaf)
        except BlockFault as fault:
            self._damaged(wanted, wanted.places, fault)
            return
        with self._lock:
            self._bytes_read += taken
        column = BlockColumn(wanted.index, leaf, pages)
        batches = column.batches(wanted.rows)
        first = next(batches, None)
        if first is not None:
            self._read_next(wanted, column, first, batches)

    def _read_next(
        self, wanted: _KindRequest, column: BlockColumn, batch: Sequence[PlacedPage], others: Iterator[Sequence[PlacedPage]]
    ) -> None:
        """Read a batch, and queue the next one as a piece of its own, so that other reads have their turn between them."""
        self._read_batch(wanted, column, batch)
        following = next(others, None)
        if following is not None and not self._cancelled:
            with self._lock:
                self._left += 1
            self._submit(self._read_next, wanted, column, following, others)

    def _read_batch(self, wanted: _KindRequest, column: BlockColumn, batch: Sequence[PlacedPage]) -> None:
        first, last = np.searchsorted(wanted.rows, [batch[0].first_row, batch[-1].first_row + batch[-1].page.rows])
        try:
            values, taken = column.read(batch)
        except BlockFault as fault:
            if len(batch) > 1:  # read pages one by one, since most are intact
                for one in batch:
                    self._read_batch(wanted, column, [one])
                return
            self._damaged(wanted, wanted.places[first:last], fault)
            return
        chosen = values.take(pa.array(rows_inside(batch, wanted.rows[first:last])))
        with self._lock:
            self._bytes_read += taken
            self._found[wanted.kind].append((wanted.places[first:last], chosen))

    def _damaged(self, wanted: _KindRequest, places: Rows, fault: BlockFault) -> None:
        self._cutouts.forget(wanted.path, self._layout, wanted.index)
        self._fail(places, (wanted.kind,), fault.reason)

    def _fail(self, places: Rows, kinds: Sequence[str], reason: str) -> None:
        with self._lock:
            self._failures += [StampFailure(row, kind, reason) for row in places.tolist() for kind in kinds]


def _scattered(parts: Sequence[tuple[Rows, pa.Array]], rows: int) -> pa.BinaryArray:
    """Return an array of length `rows` with the values at their positions, and nulls elsewhere."""
    position = np.full(rows, -1)
    if parts:
        order = np.concatenate([places for places, _ in parts])
        position[order] = np.arange(len(order))
    values = pa.concat_arrays([values for _, values in parts]) if parts else pa.array([], pa.binary())
    if len(values) == rows and np.array_equal(position, np.arange(rows)):
        return values
    return values.take(pa.array(position, mask=position < 0))
