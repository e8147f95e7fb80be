"""One ingest into the embedded store: rows are gathered, merged with what is held, written, then made visible.

Nothing of it is part of the store before the manifest commits. A file that a killed ingest leaves behind is
in no manifest; the next ingest takes it away.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalogue import TYPES, Catalogue, Column
from flight_server.declarations import Table
from flight_server.storage.embedded.files import sync
from flight_server.storage.embedded.manifest import BlockRecord, ColumnRecord, IngestRecord, Manifest, SegmentRecord
from flight_server.storage.embedded.merging import key_array, merge_equal_keys, merge_over
from flight_server.storage.embedded.segments import WRITTEN, data_file, key_file, write_segment
from flight_server.storage.embedded.snapshot import Snapshot
from flight_server.storage.embedded.stamp_blocks import BLOCK_FOLDER, StampBlocks
from flight_server.storage.keys import key_expression
from flight_server.storage.protocols import VERSION, Scan

__all__ = ["Transaction", "exclusive"]

SEGMENT_BYTES = 1 << 30
STAMPS = "b:"  # the family of stamps, which stand in blocks


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the store's lock: one process writes at a time, the others wait."""
    with (folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class Transaction:
    """Rows on their way into the store; a `RowWriter`."""

    def __init__(self, folder: Path, manifest: Manifest, view: Snapshot, catalogue: Catalogue) -> None:
        self._folder = folder
        self._manifest = manifest
        self._view = view
        self._catalogue = catalogue.with_stored(view.columns)
        self._state = manifest.read()
        self._gathered: dict[str, list[tuple[pa.Table, npt.NDArray[np.bytes_]]]] = {}
        self._records: list[SegmentRecord | BlockRecord | ColumnRecord | IngestRecord] = []
        self._number = 1 + max((record.id for record in self._state.segments), default=0)
        last = max((record.written for record in self._state.ingests), default=0)
        self._written = max(time.time_ns() // 1_000_000, last + 1)
        self._blocks = StampBlocks(folder, view, {record.name for record in self._state.blocks})
        self._remove_leftovers()

    def write(self, parts: Sequence[tuple[Table, pa.Table]]) -> None:
        """Take in the rows that one file brings; see `RowWriter.write`."""
        keyed = [(table.name, rows, key_array(key_expression(table.key).build(_cells(rows)))) for table, rows in parts]
        for name, rows, keys in keyed:
            self._gathered.setdefault(name, []).append((rows, keys))

    def commit(self, files: int, alerts: int) -> dict[str, int]:
        """Write all that was gathered and make it visible at once; gives the rows written to each table."""
        counts = {}
        for name in sorted(self._gathered):
            counts[name] = self._write_table(self._catalogue.table(name), self._gathered.pop(name))
        self._records += self._blocks.records
        if self._records:
            number = 1 + max((record.id for record in self._state.ingests), default=0)
            self._manifest.commit([*self._records, IngestRecord(number, self._written, files, alerts)])
        return counts

    def _write_table(self, table: Table, parts: list[tuple[pa.Table, npt.NDArray[np.bytes_]]]) -> int:
        columns = self._columns(table, [rows for rows, _ in parts])
        # the type of a column is settled by now, so that the parts differ in their columns only
        gathered = pa.concat_tables([rows for rows, _ in parts], promote_options="default").combine_chunks()
        rows, keys = _in_version_order(gathered, np.concatenate([keys for _, keys in parts]))
        rows, keys = merge_equal_keys(rows.drop_columns([VERSION]), keys)
        if table.rows == "stamps":
            layout = self._catalogue.surveys[table.survey].alerts
            rows = self._blocks.store(table, layout, self._catalogue.known[table.survey], rows, keys)
        rows = _as_columns(rows, columns)
        rows, keys, replaced = self._merge_with_held(table, columns, rows, keys)
        if len(keys):
            self._write_segments(table, rows, keys, replaced)
        return len(keys)

    def _columns(self, table: Table, parts: list[pa.Table]) -> list[Column]:
        """Give all columns that the table has from now on, and note those that are new to it."""
        held = self._catalogue.stored.get(table.name, {})
        brought: dict[str, pa.DataType] = {}
        for part in parts:
            brought |= {field.name: field.type for field in part.schema if not _is_internal(field.name)}
        known = list(self._catalogue.known[table.survey])
        new = sorted(set(brought) - set(held), key=lambda n: (known.index(n) if n in known else len(known), n))
        names = {kind: name for name, kind in TYPES.items()}
        for position, name in enumerate(new, start=len(held)):
            self._records.append(ColumnRecord(table.name, name, position, names[brought[name]]))
        stored = {**held, **{name: brought[name] for name in new}}
        catalogue = self._catalogue.with_stored({**self._catalogue.stored, table.name: stored})
        return list(catalogue.stored_columns(table).values())

    def _merge_with_held(
        self, table: Table, columns: list[Column], rows: pa.Table, keys: npt.NDArray[np.bytes_]
    ) -> tuple[pa.Table, npt.NDArray[np.bytes_], npt.NDArray[np.bool_]]:
        """Merge rows with those held under the same keys; rows that this leaves as they were drop out."""
        parts = list(self._view.scan(Scan(table=table, columns=tuple(columns), keys=keys)))
        replaced = np.zeros(len(keys), dtype=bool)
        if not parts:
            return rows, keys, replaced
        held = pa.Table.from_batches([part.batch for part in parts])
        where = np.concatenate([part.asked for part in parts])
        replaced[where] = True
        merged, changed = merge_over(held, where, rows)
        return merged.filter(pa.array(changed)), keys[changed], replaced[changed]

    def _write_segments(
        self, table: Table, rows: pa.Table, keys: npt.NDArray[np.bytes_], replaced: npt.NDArray[np.bool_]
    ) -> None:
        rows = rows.select([name for name in rows.column_names if rows[name].null_count < len(rows)])
        rows = rows.append_column(WRITTEN, pa.array(np.full(len(rows), self._written)))
        step = max(1, int(len(rows) * SEGMENT_BYTES / max(SEGMENT_BYTES, rows.nbytes)))
        folder = self._folder / "segments" / table.name
        folder.mkdir(parents=True, exist_ok=True)
        for first in range(0, len(rows), step):
            part, part_keys = rows.slice(first, step), keys[first : first + step]
            name = f"{self._number:08d}"
            written = write_segment(folder / name, part, part_keys)
            span = (
                pc.min_max(part[table.time])
                if table.time in part.column_names
                else {"min": pa.scalar(None), "max": pa.scalar(None)}
            )
            self._records.append(
                SegmentRecord(
                    id=self._number,
                    table_name=table.name,
                    name=name,
                    rows=len(part),
                    replaced=int(replaced[first : first + step].sum()),
                    key_width=written.key_width,
                    data_bytes=written.data_bytes,
                    data_sha256=written.data_sha256,
                    keys_sha256=written.keys_sha256,
                    first_time=span["min"].as_py(),
                    last_time=span["max"].as_py(),
                    written=self._written,
                    head_crc=written.head_crc,
                    batches=written.batches,
                    fences=written.fences,
                )
            )
            self._number += 1
        sync(folder)

    def _remove_leftovers(self) -> None:
        held = {self._folder / record.name for record in self._state.blocks}
        for record in self._state.segments:
            stem = self._folder / "segments" / record.table_name / record.name
            held |= {data_file(stem), key_file(stem)}
        found = [*(self._folder / BLOCK_FOLDER).glob("*.parquet"), *(self._folder / "segments").glob("*/*")]
        for file in found:
            if file not in held:
                file.unlink()


def _cells(rows: pa.Table) -> dict[str, pa.Array]:
    return {name: _chunk(rows[name]) for name in rows.column_names}


def _is_internal(name: str) -> bool:
    return name == VERSION or name.startswith(STAMPS)


def _in_version_order(rows: pa.Table, keys: npt.NDArray[np.bytes_]) -> tuple[pa.Table, npt.NDArray[np.bytes_]]:
    """Sort by key, then version, then content, so that the order of arrival plays no part."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    same = np.concatenate(([False], ordered[1:] == ordered[:-1]))
    repeated = same | np.append(same[1:], False)
    if repeated.any():
        again = rows.take(pa.array(order[repeated]))
        ranks = np.unique(ordered[repeated], return_inverse=True)[1]
        by = [("_key", "ascending"), (VERSION, "ascending")]
        by += [(name, "ascending") for name in sorted(rows.column_names) if name != VERSION]
        sorted_again = pc.sort_indices(again.append_column("_key", pa.array(ranks)), sort_keys=by).to_numpy()
        order[repeated] = order[repeated][sorted_again]
    return rows.take(pa.array(order)), keys[order]


def _as_columns(rows: pa.Table, columns: list[Column]) -> pa.Table:
    arrays = [rows[column.name] if column.name in rows.column_names else pa.nulls(len(rows), column.type) for column in columns]
    return pa.table(arrays, schema=pa.schema([pa.field(column.name, column.type) for column in columns]))


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
