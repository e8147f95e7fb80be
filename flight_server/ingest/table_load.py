"""Loading of tables that are not filled from alerts: all rows of the files or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Projection
from flight_server.catalog.declarations import Table
from flight_server.ingest.bounds import check_bounds
from flight_server.ingest.casts import cast_exactly, cast_open, stored_type
from flight_server.ingest.cell_types import open_type
from flight_server.ingest.cells import ROW_LABELS
from flight_server.ingest.combined_columns import combine
from flight_server.ingest.loaded_files import Records, read_records
from flight_server.ingest.plain_form import plain_table
from flight_server.ingest.tables import with_made
from flight_server.protocol.errors import AlertflightError, BadValue, NotSupported, UnknownColumn
from flight_server.storage.protocols import VERSION, RowStore, RowView, RowWriter
from flight_server.storage.row_keys import check_keys, keys_of_parts
from flight_server.storage.scans import Scan

__all__ = ["LoadReport", "load", "put_rows"]

ALIAS, DUPLICATE = "alias", "duplicate"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The result of a load: files and rows read, rows of the table that are new or changed, and more about the files.

    `rounded` counts the values that lost decimal digits, by column. `remarks` name the columns that the table does not have.
    """

    files: int
    read: int
    written: int
    rounded: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def load(store: RowStore, catalog: Catalog, name: str, paths: Iterable[Path]) -> LoadReport:
    """Write the rows of files to a loadable table, in one transaction.

    Parameters
    ----------
    store
        The store.
    catalog
        The tables and types.
    name
        The table.
    paths
        Parquet, CSV or JSON files, also compressed. They may have more columns than the table. Of two rows with one key
        the later one is kept.

    Raises
    ------
    UnknownTable, NotSupported, UnknownColumn, BadValue
        Nothing was written; the message names the file, and column and row if there is one.
    """
    table = catalog.table(name)
    if table.rows != "loaded":
        loaded = ", ".join(other.name for other in catalog.tables.values() if other.rows == "loaded")
        raise NotSupported(f"{name} is filled by ingest; tables that can be loaded are {loaded}", field="table", value=name)
    rounded: Counter[str] = Counter()
    with store.writing() as writer:
        view = store.view()
        known = catalog.with_stored(view.columns)
        read = [(path, *_read(table, known, path, rounded)) for path in paths]
        parts = [(path, part) for path, part, _ in read]
        remarks = tuple(remark for _, _, some in read for remark in some)
        types = _types(table, known, view, [part for _, part in parts])
        rows = pa.concat_tables([_typed(path, part, types) for path, part in parts], promote_options="default")
        rows = with_made(table, known, rows)
        return LoadReport(len(parts), len(rows), _put(writer, view, known, table, rows), rounded, remarks)


def put_rows(store: RowStore, catalog: Catalog, table: Table, rows: pa.Table) -> int:
    """Write rows, later ones over earlier ones, to a loadable table; return the number of new or changed rows."""
    with store.writing() as writer:
        return _put(writer, store.view(), catalog, table, rows)


def _put(writer: RowWriter, view: RowView, catalog: Catalog, table: Table, rows: pa.Table) -> int:
    if table.aliases:
        rows = _with_aliases(table, rows, catalog.columns(table, None), view)
    # of rows with one key the later one is kept
    order = pa.array([f"{row:012d}" for row in range(len(rows))], pa.string())
    if len(rows):
        writer.write([(table, rows.append_column(VERSION, order))], pa.table({}))
    return writer.commit(0, 0).get(table.name, 0)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the file to errors."""
    try:
        yield
    except AlertflightError as error:
        raise type(error)(f"{path}: {error.message}", field=error.field, value=error.value) from error


def _read(table: Table, catalog: Catalog, path: Path, rounded: Counter[str]) -> tuple[pa.Table, list[str]]:
    """Read a file as columns of the table, with the types of the catalog where it has them; also return remarks on it."""
    described = catalog.described(table)
    with _naming(path):
        spellings = {spelling for column in described if table.has(column) for spelling in (column, column.partition(":")[2])}
        parts = {part for names in table.joined.values() for part in names} | set(table.listed.values())
        records = read_records(path, spellings | parts, spellings)
        found, combined = combine(table, plain_table(records.table))
        columns: dict[str, pa.ChunkedArray | pa.Array] = {}
        ignored = list(records.left_out)
        for spelled, values in zip(found.column_names, found.columns, strict=True):
            name = _column_of(table, catalog, spelled)
            if name is None or ROW_LABELS.fullmatch(spelled):
                ignored += [] if spelled in combined else [spelled]
                continue
            if name in columns:
                raise BadValue(f"the column {name} occurs twice in the file", field=name)
            kind = described[name].type if name in described else stored_type(values.type)
            if kind is None and not pa.types.is_null(values.type):
                ignored.append(spelled)
            elif kind is None or (name not in described and values.null_count == len(values)):
                columns[name] = pa.nulls(len(values))  # a column of nulls has no say in its type
            else:
                columns[name] = cast_exactly(values, kind, name, rounded)
        missing = [name for name in table.aliases if name not in columns]
        if missing:
            raise BadValue(f"there is no column {missing[0]}, which row keys need", field=missing[0])
        check_bounds(columns, described)
        rows = pa.table(columns)
        if not table.aliases:
            check_keys(table, rows)  # raises on a bad row while its file is known
        _check_cells(table, rows)
        return rows, _remarks(path, records, combined, ignored)


def _check_cells(table: Table, rows: pa.Table) -> None:
    """Raise if a row has nothing but what is in its key: a store could not hold it."""
    if not table.key_only or not len(rows):
        return
    filled = np.zeros(len(rows), bool)
    for name in rows.column_names:
        if table.takes(name):
            filled |= np.asarray(rows[name].is_valid())
    if not filled.all():
        row = int(np.argmin(filled))
        raise BadValue(f"row {row} has no value in any column but {', '.join(table.key_only)}", field=table.key_only[0])


def _remarks(path: Path, records: Records, combined: Mapping[str, str], ignored: list[str]) -> list[str]:
    """Return what is to be said on how a file was read."""
    found = [] if records.preamble is None else [f"{path}: the line before the header was skipped: {records.preamble[:60]}"]
    made = dict.fromkeys(combined.values())
    found += [f"{path}: {name} is made of {', '.join(part for part in combined if combined[part] == name)}" for name in made]
    return found + ([f"{path}: columns not loaded: {', '.join(ignored)}"] if ignored else [])


def _column_of(table: Table, catalog: Catalog, name: str) -> str | None:
    """Return the column of the table for a column of a file, named with or without the family; None if it has no such."""
    known = catalog.stored_columns(table)
    if name in known or (name.partition(":")[0] in table.rest and table.takes(name)):
        return name
    described = catalog.own.get(table.name, {})
    spelled = [column for column in {**known, **described} if column.partition(":")[2] == name and table.has(column)]
    if len(spelled) == 1:
        return spelled[0]
    if not spelled and ":" not in name and len(table.rest) == 1:
        return f"{next(iter(table.rest))}:{name}"
    if spelled:
        message = f"the column {name!r:.60} may be {' or '.join(spelled)}: name it with its family"
        raise UnknownColumn(message, field=name, value=name)
    return None


def _types(table: Table, catalog: Catalog, view: RowView, parts: Iterable[pa.Table]) -> Mapping[str, pa.DataType]:
    """Return the type of each column that has a value in a file."""
    brought: dict[str, list[pa.DataType]] = {}
    for column in (column for part in parts for column in part.schema):
        if not pa.types.is_null(column.type):
            brought.setdefault(column.name, []).append(column.type)
    described = catalog.described(table)
    return {
        name: kinds[0] if name in described else open_type([table], catalog, view, name, kinds) for name, kinds in brought.items()
    }


def _typed(path: Path, part: pa.Table, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Cast the columns of a file to the types, and leave out those without a value in any file."""
    with _naming(path):
        return pa.table({name: cast_open(part[name], types[name], name) for name in part.column_names if name in types})


def _with_aliases(table: Table, rows: pa.Table, columns: Projection, view: RowView) -> pa.Table:
    """Return one row for each alias of each row; equal aliases are numbered as stored, then in the order of the rows."""
    parts = []
    for name in table.aliases:
        named = rows.append_column(ALIAS, rows[name].cast(pa.string()))
        parts.append(named.filter(pc.fill_null(pc.not_equal(named[ALIAS], ""), fill_value=False)))
    unfolded = pa.concat_tables(parts)
    # an alias that occurs in several columns of a row counts once; so does a repeated row
    lower = pc.utf8_lower(unfolded[ALIAS]).to_pylist()
    cells = list(zip(*(unfolded[name].to_pylist() for name in rows.column_names), strict=True))
    first = {pair: place for place, pair in reversed(list(enumerate(zip(lower, cells, strict=True))))}
    unfolded = unfolded.take(pa.array(sorted(first.values()), pa.int64()))
    return unfolded.append_column(DUPLICATE, pa.array(_duplicates(table, unfolded, columns, view), pa.int64()))


def _duplicates(table: Table, rows: pa.Table, columns: Projection, view: RowView) -> list[int]:
    """Return the number of each row among those of its alias: its stored number, else the first free one."""
    lower = pc.utf8_lower(rows[ALIAS]).to_pylist()
    names = [column.name for column in columns]
    absent = [None] * len(rows)
    cells = list(zip(*(rows[name].to_pylist() if name in rows.column_names else absent for name in names), strict=True))
    held: dict[str, dict[tuple[object, ...], int]] = {alias: {} for alias in lower}
    taken: dict[str, set[int]] = {alias: set() for alias in held}
    for alias, number, found in _held(table, sorted(held), columns, view):
        taken[alias].add(number)
        held[alias].setdefault(found, number)
    numbers = []
    for alias, found in zip(lower, cells, strict=True):
        if found not in held[alias]:
            number = next(n for n in range(len(taken[alias]) + 1) if n not in taken[alias])
            taken[alias].add(number)
            held[alias][found] = number
        numbers.append(held[alias][found])
    return numbers


def _held(table: Table, aliases: list[str], columns: Projection, view: RowView) -> Iterator[tuple[str, int, tuple[object, ...]]]:
    """Yield the stored rows of the aliases: alias, number, and cells."""
    number = 0
    while aliases and view.columns.get(table.name):
        numbered = {ALIAS: pa.array(aliases), DUPLICATE: pa.array(np.full(len(aliases), number))}
        keys = keys_of_parts(table, numbered)
        found: list[str] = []
        for some in view.scan(Scan(table=table, columns=columns, keys=keys)):
            cells = (values.to_pylist() for values in some.batch.columns)
            for place, values in zip(some.request_index.tolist(), zip(*cells, strict=True), strict=False):
                found.append(aliases[place])
                yield aliases[place], number, values
        # the numbers of an alias have no gaps: after a free one all are free
        aliases = found
        number += 1
