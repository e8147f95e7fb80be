"""The embedded store: a folder with a manifest, segments of rows and blocks of cutouts."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc

from flight_server.catalog.catalog import Catalog, load_catalog
from flight_server.catalog.columns import Projection
from flight_server.protocol.errors import AlertflightError, BackendLost, BadValue, CorruptData
from flight_server.storage.blocks import BlockCutouts, LocalFiles
from flight_server.storage.blocks.cutouts import READ_THREADS
from flight_server.storage.embedded.compaction import CompactionReport, compact
from flight_server.storage.embedded.manifest import BlockRecord, Manifest, ManifestState, SegmentRecord
from flight_server.storage.embedded.manifest_watch import ManifestWatch
from flight_server.storage.embedded.mapped_files import LookPace
from flight_server.storage.embedded.open_segments import OpenSegments
from flight_server.storage.embedded.scrub import Finding, Findings, Pause, Scrub
from flight_server.storage.embedded.segment_cache import SegmentCache
from flight_server.storage.embedded.snapshot import Snapshot
from flight_server.storage.embedded.verification import verify
from flight_server.storage.embedded.writer import Transaction, exclusive
from flight_server.storage.outages import Outage
from flight_server.storage.scans import Scan

__all__ = ["EmbeddedStore", "verify_folder"]

log = logging.getLogger(__name__)
MANIFEST = "manifest.sqlite"
REOPENED = 5  # attempts to open a state while compactions remove files
RETRY_SECONDS = 1.0  # between attempts to read what cannot be read


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
        self._segments = OpenSegments(folder)
        self._findings = Findings(folder)
        self._pace = LookPace()
        self._blocks: Mapping[str, BlockRecord] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._watch = ManifestWatch(folder / MANIFEST)
        except (OSError, sqlite3.OperationalError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadValue(f"the data folder {folder} cannot be used: {reason}", field="data", value=folder) from error
        try:
            self._state = self._watch.read()
        except BaseException:
            self._watch.manifest.close()
            raise
        self._manifest_fault: AlertflightError | None = None
        self._has_changed = False
        self._shown: object = None
        self._view: Snapshot
        self._refresh()
        self.cutouts = BlockCutouts(LocalFiles(folder), self._footer_crc, threads)

    def view(self) -> Snapshot:
        """Return a view of the store as of now.

        Commits of other processes, and changes of files by whomever, appear at the next look; see `LookPace`.
        """
        with self._lock:
            self._pace.look((self,))
            if self._has_changed:
                self._refresh()
            return self._view

    def look(self) -> None:
        """Look at all files of the store, and note whether they have changed; the caller holds the lock."""
        try:
            changed = self._watch.has_changed() or self._segments.have_changed()
        except (CorruptData, sqlite3.OperationalError):
            changed = True
        self._has_changed = changed or (bool(self._view.faults) and time.monotonic() - self._tried >= RETRY_SECONDS)

    def refresh(self) -> None:
        """Read the manifest again."""
        with self._lock:
            self._refresh()

    def recheck(self) -> bool:
        """Return False: a view is of the present files."""
        return False

    def outages(self) -> Sequence[Outage]:
        """Return nothing: this store needs no service."""
        return ()

    def left_out(self) -> dict[str, dict[str, int]]:
        """Return an empty mapping: every cell of this store has a type."""
        return {}

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """Begin an ingest, after waiting for one of another process."""
        with self._naming_disk(), exclusive(self._folder):
            self._check_manifest()
            yield Transaction(self._folder, self._watch.manifest, self._view, self._catalog)
            with self._lock:
                self._refresh()

    def compact(self, *, full: bool = False, progress: Callable[[str, int], None] = lambda *_: None) -> CompactionReport:
        """Merge segments; see `compaction.compact`. Readers continue meanwhile, writers wait."""
        with self._naming_disk(), exclusive(self._folder):
            self._check_manifest()
            report = compact(self._folder, self._watch.manifest, self._catalog, full=full, progress=progress)
            with self._lock:
                self._refresh()
        return report

    def scrub(self, pause: Pause) -> Iterator[str]:
        """Read the whole store once, from where the last pass ended; yield a line for each damaged file.

        The tables of such a file have a fault from then on, and rows of damaged batches are no longer read.

        Parameters
        ----------
        pause
            Called with the bytes read since the last call and the bytes of the store; waits before more is read.
        """
        yield from (f"{MANIFEST}: {line}" for line in self._manifest_faults())
        yield from self._report(Scrub(self._folder, self._present).run(pause))

    def scrub_changed(self, progress: Callable[[int], None] = lambda _: None) -> Iterator[str]:
        """Read the segments whose files have changed under this process; see `scrub`."""
        while self._segments.changed:
            _, record = self._segments.changed.popitem()
            yield from self._report(Scrub(self._folder, self._present).read(record, progress))

    def _manifest_faults(self) -> list[str]:
        try:
            manifest = Manifest(self._folder / MANIFEST, create=False)
            try:
                manifest.read()
                return manifest.damage()
            finally:
                manifest.close()
        except (AlertflightError, sqlite3.OperationalError) as error:
            self.refresh()  # which finds the same
            return [getattr(error, "message", str(error))]

    def _present(self) -> ManifestState:
        self.view()
        return self._state

    def _report(self, read: Iterator[Finding | str]) -> Iterator[str]:
        """Mark what a scrub has found in the views of this store; yield a line for each damaged file."""
        for found in read:
            if isinstance(found, str):
                self._findings.clear(found)
                continue
            self.refresh()
            record = found.record
            if record not in (*self._state.segments, *self._state.blocks):  # removed by a compaction meanwhile
                continue
            if isinstance(record, SegmentRecord):
                tables = frozenset({record.table_name})
                self._segments.recheck(record)
            else:
                tables = frozenset(self._tables_of(record))
            error = CorruptData(f"{found.name} {found.fault}", field="data", value=found.name)
            self._findings.add(found.name, tables, error)
            yield error.message

    def _tables_of(self, block: BlockRecord) -> Iterator[str]:
        """Yield the names of tables whose rows name a block; also of those that cannot be read."""
        for name, table in self._catalog.tables.items():
            if table.rows == "stamps":
                path = self._catalog.known[table.survey][str(table.path)]
                try:
                    rows = self.view().scan(Scan(table=table, columns=Projection([path])))
                    if any(pc.any(pc.equal(some.batch[0], block.name)).as_py() for some in rows):
                        yield name
                except AlertflightError:
                    yield name

    def _check_manifest(self) -> None:
        """Read the manifest again; raise if it is damaged, so that nothing is written to it."""
        with self._lock:
            self._refresh()
            if self._manifest_fault is not None:
                raise self._manifest_fault

    def _footer_crc(self, name: str) -> int | None:
        record = self._blocks.get(name)
        return None if record is None else record.footer_crc

    def close(self) -> None:
        """Close the manifest; mapped files are closed with the last view."""
        self._watch.manifest.close()

    @contextmanager
    def _naming_disk(self) -> Iterator[None]:
        """Convert disk errors (full, read-only, broken) to an error that says whether the data were stored."""
        manifest = self._watch.manifest
        before = manifest.commits
        try:
            yield
        except (OSError, sqlite3.OperationalError) as error:
            reason = getattr(error, "strerror", None) or error
            if manifest.commits == before:
                message = f"the store could not be written: {reason}; it is unchanged, try again once that is fixed"
            else:
                message = f"the data are in the store, but the cleanup after the commit failed: {reason}"
            raise BackendLost(message, field="data") from error

    def _refresh(self) -> None:
        """Read the manifest and open its segments; what cannot be read becomes the faults of the view."""
        self._tried = time.monotonic()
        self._has_changed = False
        self._manifest_fault = None
        try:
            for _ in range(REOPENED):
                state = replace(self._watch.read(), version=0)
                tables, faults = self._segments.open(state)
                # a compaction may have deleted a file since the manifest was read
                if not faults or not self._watch.has_changed(surely=True):
                    break
        except (AlertflightError, sqlite3.OperationalError) as error:
            # the rows that were open are not served: nothing tells that they are still those of the store
            fault = error if isinstance(error, AlertflightError) else CorruptData(f"the manifest cannot be read: {error}")
            self._manifest_fault = fault
            state, tables, faults = self._state, {}, dict.fromkeys(self._catalog.tables, fault)
        shown = (state, tables, {name: fault.message for name, fault in faults.items()})
        if shown == self._shown:  # also while damage lasts, which is looked at again and again
            return
        for name, fault in faults.items() if self._shown is not None else ():  # who opens the store tells the first ones
            log.error("%s is not served: %s", name, fault.message)
        self._shown = shown
        self._state = state
        self._view = Snapshot(state, tables, self._cache, faults, self._findings.of)
        self._blocks = {record.name: record for record in state.blocks}
        self._cache.keep({segment for segments in tables.values() for segment in segments})


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
