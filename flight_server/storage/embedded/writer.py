"""One ingest into the embedded store: rows are gathered, merged with stored ones, written, then made visible.

Nothing is part of the store before the manifest commits. No manifest lists the files that a killed ingest leaves behind;
the next writer deletes them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import TYPES, Column, Projection
from flight_server.catalog.declarations import Table
from flight_server.catalog.widening import widened, widest
from flight_server.storage.embedded.files import follow_mode
from flight_server.storage.embedded.manifest import (
    BlockRecord,
    ColumnRecord,
    IngestRecord,
    Manifest,
    ManifestState,
    SegmentRecord,
)
from flight_server.storage.embedded.removal import rewrite_without
from flight_server.storage.embedded.segment_output import SegmentOutput
from flight_server.storage.embedded.segments import WRITTEN, data_file, key_file
from flight_server.storage.embedded.snapshot import Snapshot
from flight_server.storage.embedded.stamp_blocks import BLOCK_FOLDER, StampBlocks
from flight_server.storage.keys import row_keys
from flight_server.storage.merge import drop_superseded, key_array, merge_equal_keys, merge_over
from flight_server.storage.protocols import VERSION, Sharing
from flight_server.storage.regular_files import open_regular
from flight_server.storage.runs import Runs
from flight_server.storage.scans import Scan
from flight_server.storage.shared_keys import SharedKeys
from flight_server.storage.stamp_rows import BLOCK_ROWS

__all__ = ["Transaction", "exclusive", "next_number", "remove_leftovers"]

log = logging.getLogger(__name__)
STAMPS = "b:"  # the family of cutouts, which are stored in blocks
RUN_FOLDER = "runs"


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock of the store: one process writes at a time, the others wait."""
    lock = folder / "lock"
    is_new = not lock.exists()
    with os.fdopen(open_regular(lock, create=True), "wb") as handle:
        if is_new:
            follow_mode(lock)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("another process writes to this store; waiting for it to finish")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def next_number(state: ManifestState) -> int:
    """Return the ID of the next segment."""
    return 1 + max((record.id for record in state.segments), default=0)


def remove_leftovers(folder: Path, state: ManifestState) -> None:
    """Delete the files that the manifest does not list: leftovers of killed processes, and files replaced by compaction."""
    held = {folder / record.name for record in state.blocks}
    for record in state.segments:
        stem = folder / "segments" / record.table_name / record.name
        held |= {data_file(stem), key_file(stem)}
    for file in [*(folder / BLOCK_FOLDER).glob("*"), *(folder / "segments").glob("*/*")]:
        if file not in held:
            file.unlink()
    shutil.rmtree(folder / RUN_FOLDER, ignore_errors=True)


class Transaction:
    """An ingest in progress; a `RowWriter`."""

    keeps_alerts = False

    def __init__(self, folder: Path, manifest: Manifest, view: Snapshot, catalog: Catalog) -> None:
        self._folder = folder
        self._manifest = manifest
        self._view = view
        self._catalog = catalog.with_stored(view.columns)
        self._state = manifest.read()
        self._runs: dict[str, Runs] = {}
        self._shared = SharedKeys(self._catalog)
        self.sharing = Sharing()
        self._removed: dict[str, npt.NDArray[np.bytes_]] = {}
        self._records: list[SegmentRecord | BlockRecord | ColumnRecord | IngestRecord] = []
        self._number = next_number(self._state)
        last = max((record.written for record in self._state.ingests), default=0)
        self._written = max(time.time_ns() // 1_000_000, last + 1)
        self._blocks = StampBlocks(folder, view, self._state.blocks)
        remove_leftovers(folder, self._state)

    def write(self, parts: Sequence[tuple[Table, pa.Table]], alerts: pa.Table) -> None:  # noqa: ARG002  (only the HBase store needs them)
        """Add the rows of one file; see `RowWriter.write`."""
        keyed = [(table, _stored(table, rows), key_array(row_keys(table, rows))) for table, rows in parts]
        for table, rows, keys in keyed:
            self._runs.setdefault(table.name, Runs(self._folder / RUN_FOLDER)).add(rows, keys)
            self._shared.add(table, rows, keys)

    def remove(self, table: Table, keys: npt.NDArray[np.bytes_]) -> None:
        """Remove rows; see `RowWriter.remove`."""
        self._removed[table.name] = np.unique(keys)

    def commit(self, files: int, alerts: int) -> dict[str, int]:
        """Write all gathered rows and make them visible at once; return the number of rows written to each table."""
        counts = {}
        self.sharing = self._shared.settle(self._view)
        replaced = self._rewrite()
        for name in sorted(self._runs):
            counts[name] = self._write_table(self._catalog.table(name), self._runs.pop(name))
        self._records += self._blocks.records
        if self._records or replaced:
            number = 1 + max((record.id for record in self._state.ingests), default=0)
            ingest = IngestRecord(number, self._written, files, alerts)
            self._manifest.commit([*self._records, ingest], remove_segments=replaced)
        shutil.rmtree(self._folder / RUN_FOLDER, ignore_errors=True)
        if replaced:
            remove_leftovers(self._folder, self._manifest.read())
        return counts

    def _rewrite(self) -> list[int]:
        """Write the segments with removed rows again; return the IDs of those that they replace."""
        replaced = []
        for name, keys in sorted(self._removed.items()):
            table = self._catalog.table(name)
            made = rewrite_without(self._folder, self._state, table, self._view.segments(table), keys=keys, number=self._number)
            self._records += made.records
            self._number += len(made.records)
            replaced += made.replaced
        return replaced

    def _write_table(self, table: Table, runs: Runs) -> int:
        columns = self._columns(table, runs)
        # columns without a value are not written to a segment; a merged row may have all stored columns
        held = set(self._catalog.stored.get(table.name, {}))
        filled = [column for column in columns if column.name in runs.filled or column.name in held or column.name == table.path]
        others = Runs(self._folder / RUN_FOLDER)
        exactly = BLOCK_ROWS if table.rows == "stamps" else None
        plain = (self._shared.divide(table, *part, others) for part in runs.parts(exactly))
        written = self._write_rows(table, filled, plain, runs.key_width)
        return written + self._write_rows(table, filled, others.parts(exactly), others.key_width)

    def _write_rows(
        self, table: Table, columns: list[Column], parts: Iterable[tuple[pa.Table, npt.NDArray[np.bytes_]]], key_width: int
    ) -> int:
        """Write rows, in parts by ascending keys, as segments."""
        schema = pa.schema([*(pa.field(column.name, column.type) for column in columns), pa.field(WRITTEN, pa.int64())])
        written = 0
        with SegmentOutput(self._folder, table, schema, key_width=key_width, number=self._number) as output:
            for part, part_keys in parts:
                rows, keys = merge_equal_keys(*drop_superseded(table, part.drop_columns([VERSION]), part_keys))
                if table.rows == "stamps":
                    layout = self._catalog.surveys[table.survey].alerts
                    rows = self._blocks.store(table, layout, self._catalog.known[table.survey], rows, keys)
                rows, keys, replaced = self._merge_with_held(table, columns, _as_columns(rows, columns), keys)
                stamp = pa.array(np.full(len(keys), self._written))
                output.append(rows.append_column(pa.field(WRITTEN, pa.int64()), stamp), keys, int(replaced.sum()))
                written += len(keys)
            self._records += output.finish()
        self._number += len(output.records)
        return written

    def _columns(self, table: Table, runs: Runs) -> list[Column]:
        """Return all columns of the table; register new ones, and the types of those that widen."""
        held = self._catalog.stored.get(table.name, {})
        described = self._catalog.described(table)
        # a column that the catalog does not type begins with its first value, which determines its type
        brought = {
            name: kind
            for name, kind in runs.types.items()
            if name != VERSION and not name.startswith(STAMPS) and (name in described or name in runs.filled)
        }
        known = list(described)
        new = sorted(set(brought) - set(held), key=lambda n: (known.index(n) if n in known else len(known), n))
        types = {name: held[name] if name in described else widest(held[name], brought[name]) for name in held if name in brought}
        stored = {**held, **types, **{name: brought[name] for name in new}}
        names = {kind: name for name, kind in TYPES.items()}
        for position, (name, kind) in enumerate(stored.items()):
            if held.get(name) != kind:
                self._records.append(ColumnRecord(table.name, name, position, names[kind]))
        catalog = self._catalog.with_stored({**self._catalog.stored, table.name: stored})
        return list(catalog.cell_columns(table).values())

    def _merge_with_held(
        self, table: Table, columns: list[Column], rows: pa.Table, keys: npt.NDArray[np.bytes_]
    ) -> tuple[pa.Table, npt.NDArray[np.bytes_], npt.NDArray[np.bool_]]:
        """Merge rows with stored ones of the same keys, and leave out rows that this does not change."""
        removed = self._removed.get(table.name, keys[:0])
        here = np.flatnonzero(~np.isin(keys, removed))
        parts = list(self._view.scan(Scan(table=table, columns=Projection(columns), keys=keys[here])))
        replaced = np.zeros(len(keys), dtype=bool)
        if not parts:
            return rows, keys, replaced
        held = pa.Table.from_batches([part.batch for part in parts])
        where = here[np.concatenate([part.request_index for part in parts])]
        replaced[where] = True
        merged, changed = merge_over(held, where, rows, table)
        return merged.filter(pa.array(changed)), keys[changed], replaced[changed]


def _stored(table: Table, rows: pa.Table) -> pa.Table:
    """Return only the cells, whose names have a family; other columns serve only keys or cutouts."""
    names = (name for name in rows.column_names if ":" in name or name == VERSION)
    return rows.select([name for name in names if name not in table.key_only])


def _as_columns(rows: pa.Table, columns: list[Column]) -> pa.Table:
    arrays = [
        widened(rows[column.name], column.type) if column.name in rows.column_names else pa.nulls(len(rows), column.type)
        for column in columns
    ]
    return pa.table(arrays, schema=pa.schema([pa.field(column.name, column.type) for column in columns]))
