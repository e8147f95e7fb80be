"""The embedded store: a folder with a manifest, segments of rows and blocks of stamps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flight_server.catalogue import Catalogue, load_catalogue
from flight_server.errors import BadValue
from flight_server.storage.embedded.manifest import Manifest, ManifestState
from flight_server.storage.embedded.segments import Segment, SegmentCache
from flight_server.storage.embedded.snapshot import Snapshot
from flight_server.storage.embedded.writing import Transaction, exclusive
from flight_server.storage.parquet_blocks import ParquetCutouts

__all__ = ["EmbeddedStore"]

FRESH_SECONDS = 0.2  # how old a view may be before the manifest is asked again


class EmbeddedStore:
    """A `RowStore` in a folder, made where there is none.

    Parameters
    ----------
    folder
        Where the files are.
    catalogue
        The tables and columns; the packaged ones by default.

    Raises
    ------
    BadValue
        The folder cannot be used.
    """

    def __init__(self, folder: Path, catalogue: Catalogue | None = None) -> None:
        self._folder = folder
        self._catalogue = catalogue or load_catalogue()
        self._lock = threading.Lock()
        self._cache = SegmentCache()
        self._open: dict[int, Segment] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._manifest = Manifest(folder / "manifest.sqlite")
        except OSError as error:
            raise BadValue(f"the data folder {folder} cannot be used: {error.strerror}", field="data", value=folder) from error
        self._checked = time.monotonic()
        self._state = self._manifest.read()
        self._view = self._snapshot(self._state)
        self.cutouts = ParquetCutouts(folder)

    def view(self) -> Snapshot:
        """Give the store as it is now; a commit of another process shows within `FRESH_SECONDS`."""
        now = time.monotonic()
        with self._lock:
            if now - self._checked >= FRESH_SECONDS:
                self._checked = now
                if self._manifest.change_counter() != self._state.version:
                    self._refresh()
            return self._view

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """Begin an ingest; waits for one that another process has begun."""
        with exclusive(self._folder):
            with self._lock:
                self._refresh()
            yield Transaction(self._folder, self._manifest, self._view, self._catalogue)
            with self._lock:
                self._refresh()

    def close(self) -> None:
        """Let go of the manifest; mapped files go with the last view."""
        self._manifest.close()

    def _refresh(self) -> None:
        self._state = self._manifest.read()
        self._view = self._snapshot(self._state)

    def _snapshot(self, state: ManifestState) -> Snapshot:
        tables: dict[str, list[Segment]] = {}
        opened = {}
        for record in state.segments:
            segment = self._open.get(record.id)
            if segment is None or segment.record != record:
                segment = Segment(self._folder / "segments" / record.table_name / record.name, record)
            opened[record.id] = segment
            tables.setdefault(record.table_name, []).append(segment)
        self._open = opened
        return Snapshot(state, tables, self._cache)
