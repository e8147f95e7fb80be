"""The embedded store: a folder with a manifest, segments of rows and blocks of cutouts."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from flight_server.catalog.catalog import Catalog, load_catalog
from flight_server.protocol.errors import AlertflightError, BackendLost, BadValue, CorruptData
from flight_server.storage.blocks import BlockCutouts, LocalFiles
from flight_server.storage.blocks.cutouts import READ_THREADS
from flight_server.storage.embedded.compaction import CompactionReport, compact
from flight_server.storage.embedded.manifest import Manifest, ManifestState
from flight_server.storage.embedded.segments import Segment, SegmentCache
from flight_server.storage.embedded.snapshot import Snapshot
from flight_server.storage.embedded.verification import verify
from flight_server.storage.embedded.writer import Transaction, exclusive

__all__ = ["EmbeddedStore", "verify_folder"]

MANIFEST = "manifest.sqlite"
REOPENED = 5  # attempts to open a state while compactions remove files
FRESH_SECONDS = 0.2  # the age at which a view is checked against the manifest again


class EmbeddedStore:
    """A `RowStore` in a folder, which is created if it does not exist.

    Parameters
    ----------
    folder
        The folder.
    catalog
        The tables and columns; the packaged ones by default.
    threads
        How many blocks of cutouts are read in parallel.

    Raises
    ------
    BadValue
        The folder cannot be used.
    """

    is_remote = False

    def __init__(self, folder: Path, catalog: Catalog | None = None, threads: int = READ_THREADS) -> None:
        self._folder = folder
        self._catalog = catalog or load_catalog()
        self._lock = threading.Lock()
        self._cache = SegmentCache()
        self._open: dict[int, Segment] = {}
        self._state: ManifestState
        self._view: Snapshot
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._manifest = Manifest(folder / MANIFEST)
        except (OSError, sqlite3.OperationalError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadValue(f"the data folder {folder} cannot be used: {reason}", field="data", value=folder) from error
        self._checked = time.monotonic()
        self._refresh()
        self.cutouts = BlockCutouts(LocalFiles(folder), self._footer_crc, threads)

    def view(self) -> Snapshot:
        """Return a view of the store as of now; commits of other processes appear within `FRESH_SECONDS`."""
        now = time.monotonic()
        with self._lock:
            if now - self._checked >= FRESH_SECONDS:
                self._checked = now
                if self._manifest.change_counter() != self._state.version:
                    self._refresh()
            return self._view

    def refresh(self) -> None:
        """Read the manifest again."""
        with self._lock:
            self._refresh()

    def left_out(self) -> dict[str, dict[str, int]]:
        """Return an empty mapping: every cell of this store has a type."""
        return {}

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """Begin an ingest, after waiting for one of another process."""
        with self._naming_disk(), exclusive(self._folder):
            with self._lock:
                self._refresh()
            yield Transaction(self._folder, self._manifest, self._view, self._catalog)
            with self._lock:
                self._refresh()

    def compact(self, *, full: bool = False, progress: Callable[[str, int], None] = lambda *_: None) -> CompactionReport:
        """Merge segments; see `compaction.compact`. Readers continue meanwhile, writers wait."""
        with self._naming_disk(), exclusive(self._folder):
            report = compact(self._folder, self._manifest, self._catalog, full=full, progress=progress)
            with self._lock:
                self._refresh()
        return report

    def _footer_crc(self, name: str) -> int | None:
        return next((record.footer_crc for record in self._state.blocks if record.name == name), None)

    def close(self) -> None:
        """Close the manifest; mapped files are closed with the last view."""
        self._manifest.close()

    @contextmanager
    def _naming_disk(self) -> Iterator[None]:
        """Convert disk errors (full, read-only, broken) to an error that says whether the data were stored."""
        before = self._manifest.commits
        try:
            yield
        except (OSError, sqlite3.OperationalError) as error:
            reason = getattr(error, "strerror", None) or error
            if self._manifest.commits == before:
                message = f"the store could not be written: {reason}; it is unchanged, try again once that is fixed"
            else:
                message = f"the data are in the store, but the cleanup after the commit failed: {reason}"
            raise BackendLost(message, field="data") from error

    def _refresh(self) -> None:
        for _ in range(REOPENED):
            state = self._manifest.read()
            view = self._snapshot(state)
            # a compaction may have deleted a file since the manifest was read
            if not view.faults or self._manifest.change_counter() == state.version:
                break
        self._state, self._view = state, view
        self._cache.keep({record.id for record in state.segments})

    def _snapshot(self, state: ManifestState) -> Snapshot:
        tables: dict[str, list[Segment]] = {}
        opened = {}
        faults: dict[str, AlertflightError] = {}
        for record in state.segments:
            segment = self._open.get(record.id)
            try:
                if segment is None or segment.record != record:
                    segment = Segment(self._folder / "segments" / record.table_name / record.name, record)
            except CorruptData as error:
                faults[record.table_name] = error
                continue
            opened[record.id] = segment
            tables.setdefault(record.table_name, []).append(segment)
        self._open = opened
        return Snapshot(state, tables, self._cache, faults)


def verify_folder(folder: Path, progress: Callable[[int], None] = lambda _: None) -> Iterator[str]:
    """Check every byte of a store, even of one that cannot be opened; yield one line per fault.

    Ingests and compactions wait meanwhile.
    """
    if not (folder / MANIFEST).exists():
        raise BadValue(f"there is no store in {folder}", field="data", value=folder)
    with exclusive(folder) if os.access(folder, os.W_OK) else nullcontext():
        try:
            manifest = Manifest(folder / MANIFEST)
        except AlertflightError as error:
            yield f"{MANIFEST}: {error.message}"
            return
        yield from verify(folder, manifest, progress)
        manifest.close()
