"""One ingest into HBase: rows are gathered, merged with stored ones, and put; the alerts go to blocks on HDFS.

HBase has no transaction over rows. So blocks are written first, then the rows that name them, then all others, the
alerts themselves last, and each row is the same whenever it is written. Running an interrupted ingest again therefore
leaves the same state as a single complete run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import TYPES, Column, Projection
from flight_server.catalog.declarations import Table
from flight_server.catalog.widening import widened, widest
from flight_server.protocol.errors import CorruptData, RowTooLarge, TableRefused
from flight_server.storage.hbase.schema_rows import (
    EARLIER,
    earlier_types,
    find_schema,
    newest_schema_row,
    release_of,
    schema_row_key,
)
from flight_server.storage.hbase.spilled_alerts import SpilledAlerts
from flight_server.storage.hbase.table_names import TableNames
from flight_server.storage.hbase.view import HBaseView
from flight_server.storage.hbase.widened_cells import distinct_cells
from flight_server.storage.hbase.writer_lock import WriterLock
from flight_server.storage.hdfs_blocks import HdfsBlocks
from flight_server.storage.injection import injection_point
from flight_server.storage.keys import row_keys
from flight_server.storage.merge import changed_cells, drop_superseded, key_array, lost_cells, merge_equal_keys, merge_over
from flight_server.storage.protocols import ALERT, VERSION, RowView, Sharing
from flight_server.storage.runs import Runs
from flight_server.storage.scans import Scan
from flight_server.storage.scratch import ScratchFolder
from flight_server.storage.shared_keys import SharedKeys
from flight_server.storage.stamp_rows import BLOCK_ROWS, place_stamps
from hbase_bridge import Gateway, Mode, WriteChannel

__all__ = ["HBaseWriter"]

STAMPS = "b:"
BATCH_BYTES = 1 << 20
COMMIT_SECONDS = 20.0
TABLES_TOGETHER = 8
UNIX_EPOCH = {"jd": 2_440_587.5, "mjd": 40_587.0}
_TYPE_NAMES = {kind: name for name, kind in TYPES.items()}
# rows, their keys, and what becomes of the stored rows with these keys
Batches: TypeAlias = Iterable[tuple[pa.RecordBatch, npt.NDArray[np.bytes_], Mode]]


class Views(Protocol):
    """A function that returns a view of the store with refreshed schemas."""

    def __call__(self) -> HBaseView:
        """Refresh the schemas, and return the view."""


class HBaseWriter:
    """An ingest into HBase in progress; a `RowWriter`.

    Parameters
    ----------
    gateway
        The bridge.
    catalog
        The tables and columns.
    view
        A view of the store, with present schemas.
    fresh_view
        Returns a view of the store, once its tables exist.
    cutouts
        The store of blocks.
    create
        Creates a table, unless it is there.
    names
        The names of the tables in HBase.
    locks
        The right to write, which this writer has.
    """

    keeps_alerts = True

    def __init__(  # noqa: PLR0917
        self,
        gateway: Gateway,
        catalog: Catalog,
        view: HBaseView,
        fresh_view: Views,
        cutouts: HdfsBlocks,
        create: Callable[[Table], None],
        *,
        names: TableNames,
        locks: Sequence[WriterLock],
    ) -> None:
        self._gateway = gateway
        self._catalog = catalog
        self._view = view
        self._fresh_view = fresh_view
        self._cutouts = cutouts
        self._create_table = create
        self._names = names
        self._locks = locks
        self._folder = ScratchFolder("ingest")
        self._alerts = SpilledAlerts()
        self._runs: dict[str, Runs] = {}
        self._shared = SharedKeys(catalog)
        self.sharing = Sharing()
        self._removed: dict[str, npt.NDArray[np.bytes_]] = {}
        self._newest: dict[str, str] = {}  # by survey: the schema row of the newest release

    def write(self, parts: Sequence[tuple[Table, pa.Table]], alerts: pa.Table) -> None:
        """Add the rows of one file; see `RowWriter.write`."""
        keyed = [
            (table, distinct_cells(_stored(table, rows), self._view.stored_types(table.name)), key_array(row_keys(table, rows)))
            for table, rows in parts
        ]
        places = self._alerts.add(alerts)
        for table, rows, keys in keyed:
            if ALERT in rows.column_names:
                index = rows.column_names.index(ALERT)
                rows = rows.set_column(index, ALERT, pa.array(places[rows[ALERT].to_numpy()]))  # noqa: PLW2901
            self._runs.setdefault(table.name, Runs(self._folder.path)).add(rows, keys)
            self._shared.add(table, rows, keys)
        if parts and len(alerts):
            self._note_release(parts[0][0].survey, alerts)

    def remove(self, table: Table, keys: npt.NDArray[np.bytes_]) -> None:
        """Remove rows; see `RowWriter.remove`."""
        self._removed[table.name] = np.unique(keys)

    def commit(self, files: int, alerts: int) -> dict[str, int]:  # noqa: ARG002  (HBase keeps no list of ingests)
        """Write all gathered rows; return the number of rows written to each table."""
        tables = self._tables()
        for table in tables:
            self._check_columns(table)
        with ThreadPoolExecutor(TABLES_TOGETHER) as pool:  # HBase creates one table in a second, and many in two
            list(pool.map(self._create, tables))
        for table in tables:
            self._write_schema_row(table)
        view = self._fresh_view()
        self.sharing = self._shared.settle(view)
        counts = {
            table.name: self._write_table(table, view, self._runs.pop(table.name)) for table in tables if table.name in self._runs
        }
        for name, keys in self._removed.items():
            self._delete(self._catalog.table(name), keys)
        return counts

    def _check_columns(self, table: Table) -> None:
        """Raise if rows of this ingest have a column that the table holds in another way; nothing is written then."""
        runs = self._runs.get(table.name)
        refused = self._view.refused.get(table.name, {})
        for name in sorted(runs.filled & refused.keys()) if runs else ():
            raise TableRefused(f"nothing is written to {table.name}: {refused[name]}", field="table", value=table.name)

    def _delete(self, table: Table, keys: npt.NDArray[np.bytes_]) -> None:
        nothing = pa.RecordBatch.from_arrays([pa.nulls(len(keys), pa.bool_())], names=["nothing"])
        self._put(table, [], [(nothing, keys, "deletes")])

    def _tables(self) -> list[Table]:
        """Return all tables of the surveys with alerts in this ingest, and the loaded ones, in the order of writing."""
        order = {"stamps": 0, "history": 1, "loaded": 1, "alerts": 2}
        found = []
        for survey in self._catalog.surveys.values():
            tables = sorted(survey.tables.values(), key=lambda one: (one == survey.alert_table, order[one.rows]))
            found += [table for table in tables if survey.name in self._newest or table.name in self._runs]
        return found

    def close(self) -> None:
        """Delete the temporary files."""
        self._alerts.close()
        self._folder.cleanup()

    def _note_release(self, survey: str, alerts: pa.Table) -> None:
        """Note the newest release of the broker that alerts are of."""
        fields = [name.partition(":")[2] for name in self._catalog.surveys[survey].alerts.version]
        texts = [alerts[field].cast(pa.string()) if field in alerts.column_names else pa.nulls(len(alerts)) for field in fields]
        pairs = zip(*(texts_.to_pylist() for texts_ in texts), strict=True)
        keys = {schema_row_key(broker or "", science or "") for broker, science in set(pairs)}
        self._newest[survey] = max(keys | {self._newest.get(survey, min(keys))}, key=release_of)

    def _create(self, table: Table) -> None:
        self._create_table(table)
        injection_point("hbase.created")

    def _write_schema_row(self, table: Table) -> None:
        """Write the types of all columns of this ingest to the schema row of the release, in addition to those in it.

        Types that this replaces are written to the row `EARLIER` first, since cells of them remain.
        """
        runs = self._runs.get(table.name)
        brought = self._brought(table, runs) if runs else {}
        for name in filter(table.takes, table.columns or ()):
            brought[name] = self._catalog.described(table)[name].type
        if not brought:  # without a schema row even an empty table would be refused
            brought = {name: column.type for name, column in self._catalog.cell_columns(table).items()}
        rows = self._gateway.call("schema-rows", table=self._names.of(table))
        # loaded files name no release: use the newest one of the table
        key = self._newest[table.survey] if table.survey in self._newest else newest_schema_row(rows)
        held = rows.get(key, {})
        present = _present_types(table, rows, self._catalog)
        types = {name: widest(present.get(name, kind), kind) for name, kind in brought.items()}
        new = {name: _TYPE_NAMES[kind] for name, kind in types.items() if held.get(name) != _TYPE_NAMES[kind]}
        for row, cells in ((EARLIER, earlier_types(rows, key, new)), (key, new)):
            if cells:
                batch = pa.RecordBatch.from_pydict({name: [kind] for name, kind in cells.items()})
                columns = [Column(name=name, type=pa.string()) for name in cells]
                self._put(table, columns, [(batch, np.array([row.encode()]), "puts")])

    def _write_table(self, table: Table, view: RowView, runs: Runs) -> int:
        if fault := view.fault(table):
            raise fault
        stored = {**self._brought(table, runs), **view.columns[table.name]}
        catalog = self._catalog.with_stored({**view.columns, table.name: stored}, view.refused)
        columns = list(catalog.cell_columns(table).values())
        return self._put(table, columns, self._changed(table, columns, view, runs))

    def _changed(self, table: Table, columns: list[Column], view: RowView, runs: Runs) -> Batches:
        """Yield the rows that are new to the table or change it."""
        others = Runs(self._folder.path)
        exactly = BLOCK_ROWS if table.rows == "stamps" else None
        plain = (self._shared.divide(table, *part, others) for part in runs.parts(exactly))
        # a generator, as the others are complete once all plain ones were read
        longer = (part for one in (others,) for part in one.parts(exactly))
        for part, part_keys in itertools.chain(plain, longer):
            rows, keys = merge_equal_keys(*drop_superseded(table, part.drop_columns([VERSION]), part_keys))
            if table.rows == "stamps":
                layout = self._catalog.surveys[table.survey].alerts
                known = self._catalog.known[table.survey]
                rows = place_stamps(table, layout, known, rows, keys, view, self._cutouts, self._blocks_of(table))
            rows = _as_columns(rows, columns)
            again = np.isin(keys, self._removed.get(table.name, keys[:0]))
            if again.any():
                # a deletion would hide a row that is put in the same millisecond, so the stored row is replaced instead
                yield from _batches(rows.filter(pa.array(again)), keys[again], mode="replaces")
                self._removed[table.name] = np.setdiff1d(self._removed[table.name], keys[again])
                rows, keys = rows.filter(pa.array(~again)), keys[~again]
            scan = Scan(table=table, columns=Projection(columns), keys=keys)
            held = list(view.scan(scan))
            if held:
                where = np.concatenate([some.request_index for some in held])
                stored = pa.Table.from_batches([some.batch for some in held])
                rows, changed = merge_over(stored, where, rows, table)
                gone = lost_cells(rows, stored, where)
                if gone.any():
                    yield from _batches(rows.filter(pa.array(gone)), keys[gone], mode="replaces")
                    changed &= ~gone
                # the other cells keep their timestamps, by which a read with `as_of` sees how old the row is
                rows = changed_cells(rows, stored, where)
                rows, keys = rows.filter(pa.array(changed)), keys[changed]
            yield from _batches(rows, keys)

    def _brought(self, table: Table, runs: Runs) -> dict[str, pa.DataType]:
        """Return the columns that an ingest writes to a table, with their types.

        A column that the catalog does not type begins with its first value, which determines its type.
        """
        described = self._catalog.described(table)
        return {
            name: kind
            for name, kind in runs.types.items()
            if name not in {ALERT, VERSION} and not name.startswith(STAMPS) and (name in described or name in runs.filled)
        }

    def _blocks_of(self, table: Table) -> Callable[[pa.Table, pa.Table], list[str]]:
        layout = self._catalog.surveys[table.survey].alerts

        def write(rows: pa.Table, stamps: pa.Table) -> list[str]:
            """Write the alerts with their merged cutouts, one block for each night and schema."""
            paths = np.empty(len(rows), dtype=object)
            nights = _nights(rows[table.time].to_numpy(), table.time_format)
            for chosen, alerts in self._alerts.of_one_schema(rows[ALERT].to_numpy()):
                whole = _with_stamps(alerts, layout.stamps, layout.cutout_columns, stamps.take(pa.array(chosen)))
                # blocks are searched by the alert ID of the row, which may differ from the ID outside of the candidate
                ids = rows[layout.alert_id].take(pa.array(chosen))
                name = layout.block.alert_id
                whole = whole.set_column(whole.column_names.index(name), name, ids)
                for night in np.unique(nights[chosen]):
                    here = np.flatnonzero(nights[chosen] == night)
                    paths[chosen[here]] = self._cutouts.write(whole.take(pa.array(here)), night, layout.block)
            return [str(path) for path in paths]

        return write

    def _check_locks(self) -> None:
        for lock in self._locks:
            lock.check()

    def _put(self, table: Table, columns: Sequence[Column], batches: Batches) -> int:
        """Put rows; return their number."""
        self._check_locks()
        opened = self._gateway.call("open-write")
        sent = 0
        timeout = self._gateway.settings.call_timeout
        with WriteChannel(self._gateway.socket, opened["id"], opened["secret"], timeout) as channel:
            name = self._names.of(table)
            words = [{"name": column.name, "type": _TYPE_NAMES[column.type]} for column in columns]
            told: Mode | None = None
            for batch, keys, mode in batches:
                self._check_locks()
                if mode != told:
                    channel.table(name, words, mode=mode)
                    told = mode
                _write(channel, batch, keys)
                sent += len(keys)
                injection_point("hbase.put")
            channel.end()
        rows = self._gateway.call("commit", id=opened["id"], milliseconds=int(COMMIT_SECONDS * 1000))
        injection_point("hbase.committed")
        written = int(rows.get(name, 0))
        if written != sent:
            raise CorruptData(f"{sent} rows were sent to {name}, but the gateway wrote {written}", field="table", value=name)
        return written


def _write(channel: WriteChannel, batch: pa.RecordBatch, keys: npt.NDArray[np.bytes_]) -> None:
    """Send rows, in as many frames as needed."""
    try:
        channel.write(batch, keys)
    except ValueError as error:  # too long for one frame
        if len(batch) == 1:
            key = keys[0].decode()
            raise RowTooLarge(f"the row {key} is too large: {error}", value=key) from error
        half = len(batch) // 2
        _write(channel, batch.slice(0, half), keys[:half])
        _write(channel, batch.slice(half), keys[half:])


def _present_types(table: Table, rows: Mapping[str, Mapping[str, str]], catalog: Catalog) -> dict[str, pa.DataType]:
    """Return the types of the columns that the catalog does not type."""
    try:
        schema = find_schema(table, rows, catalog)
    except TableRefused:
        return {}
    return {name: schema.columns[name] for name in schema.widening}


def _batches(rows: pa.Table, keys: npt.NDArray[np.bytes_], *, mode: Mode = "puts") -> Batches:
    if not len(rows):
        return
    together = max(1, int(BATCH_BYTES * len(rows) // max(rows.nbytes, 1)))
    for first in range(0, len(rows), together):
        batch = rows.slice(first, together).combine_chunks().to_batches()[0]
        yield batch, keys[first : first + together], mode


def _with_stamps(alerts: pa.Table, paths: Mapping[str, str], columns: Mapping[str, str], stamps: pa.Table) -> pa.Table:
    """Return the alerts with their cutouts replaced by these, and other fields of a cutout unchanged."""
    for kind, path in paths.items():
        top, _, field = path.partition(".")
        stamp = stamps[columns[kind]].combine_chunks()
        if not field:
            place = alerts.schema.get_field_index(top)
            alerts = alerts.append_column(top, stamp) if place < 0 else alerts.set_column(place, top, stamp)
        elif top in alerts.column_names:
            own = alerts[top].combine_chunks()
            beside = own.type if pa.types.is_struct(own.type) else ()
            fields = {each.name: pc.struct_field(own, [each.name]) for each in beside} | {field: stamp}
            nothing = pc.and_(own.is_null(), stamp.is_null())
            values = pa.StructArray.from_arrays(list(fields.values()), names=list(fields), mask=nothing)
            alerts = alerts.set_column(alerts.column_names.index(top), top, values)
        else:
            alerts = alerts.append_column(top, pa.StructArray.from_arrays([stamp], names=[field]))
    return alerts


def _nights(times: npt.NDArray[np.float64], time_format: str) -> npt.NDArray[np.datetime64]:
    """Return the dates of JD or MJD, shape (n,); for invalid values a date far away."""
    days: npt.NDArray[np.datetime64] = np.floor(np.clip(times - UNIX_EPOCH[time_format], -1e9, 1e9)).astype("datetime64[D]")
    return days


def _stored(table: Table, rows: pa.Table) -> pa.Table:
    """Return only the cells, whose names have a family; other columns serve only keys."""
    names = (name for name in rows.column_names if ":" in name or name in {ALERT, VERSION})
    return rows.select([name for name in names if name not in table.key_only])


def _as_columns(rows: pa.Table, columns: list[Column]) -> pa.Table:
    arrays = [
        widened(rows[column.name], column.type) if column.name in rows.column_names else pa.nulls(len(rows), column.type)
        for column in columns
    ]
    return pa.table(arrays, schema=pa.schema([pa.field(column.name, column.type) for column in columns]))
