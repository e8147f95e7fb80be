"""Tables that no alert fills: rows are loaded from files, all of them or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Projection
from flight_server.catalog.declarations import Table
from flight_server.ingest.casts import cast_exactly, stored_type
from flight_server.ingest.loaded_files import read_records
from flight_server.protocol.errors import AlertflightError, BadValue, NotSupported, UnknownColumn
from flight_server.storage.protocols import VERSION, RowStore, RowView
from flight_server.storage.row_keys import check_keys, keys_of_parts
from flight_server.storage.scans import Scan

__all__ = ["LoadReport", "load", "put_rows"]

ALIAS, DUPLICATE = "alias", "duplicate"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did: the files and rows that were read, and the rows of the table that are new or changed."""

    files: int
    read: int
    written: int


def load(store: RowStore, catalog: Catalog, name: str, paths: Iterable[Path]) -> LoadReport:
    """Put the rows of files into a table that is loaded, in one transaction.

    Parameters
    ----------
    store
        Where the rows go.
    catalog
        The tables and types.
    name
        The table.
    paths
        Parquet, CSV or JSON files. Of two rows with one key the later one stands.

    Raises
    ------
    UnknownTable, NotSupported, UnknownColumn, BadValue
        Nothing was written; names the file, and the column and row where there is one.
    """
    table = catalog.table(name)
    if table.rows != "loaded":
        loaded = ", ".join(other.name for other in catalog.tables.values() if other.rows == "loaded")
        raise NotSupported(f"{name} is filled from alerts, by ingest; what can be loaded is {loaded}", field="table", value=name)
    known = catalog.with_stored(store.view().columns)
    parts = [_read(table, known, path) for path in paths]
    types = _types(parts)
    rows = pa.concat_tables([_typed(part, types) for part in parts], promote_options="default")
    return LoadReport(len(parts), len(rows), put_rows(store, known, table, rows))


def put_rows(store: RowStore, catalog: Catalog, table: Table, rows: pa.Table) -> int:
    """Put rows, the later ones over the earlier, into a table that is loaded; gives how many are new or changed."""
    with store.writing() as writer:
        if table.aliases:
            rows = _with_aliases(table, rows, catalog.columns(table, None), store.view())
        # of rows with one key the later one stands
        order = pa.array([f"{row:012d}" for row in range(len(rows))], pa.string())
        if len(rows):
            writer.write([(table, rows.append_column(VERSION, order))], pa.table({}))
        return writer.commit(0, 0).get(table.name, 0)


def _read(table: Table, catalog: Catalog, path: Path) -> pa.Table:
    """Read a file as the table's columns, those that the catalog knows in its types."""
    try:
        texts = {spelling for column in catalog.described(table) for spelling in (column, column.partition(":")[2])}
        found = read_records(path, texts)
        names = [_column_of(table, catalog, name) for name in found.column_names]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise BadValue(f"the column {twice} stands twice in the file", field=twice)
        columns = {}
        for name, values in zip(names, found.columns, strict=True):
            kind = catalog.type_of(table, name) or stored_type(values.type)
            if kind is None and not pa.types.is_null(values.type):
                raise BadValue(f"the column {name} holds {values.type}, which is no single value"[:200], field=name)
            columns[name] = cast_exactly(values, kind, name) if kind is not None else values
        rows = pa.table(columns)
        if not table.aliases:
            check_keys(table, rows)  # says which row is at fault, while it is known whose file it is
        missing = [name for name in table.aliases if name not in columns]
        if missing:
            raise BadValue(f"there is no column {missing[0]}, which row keys need", field=missing[0])
        return rows
    except AlertflightError as error:
        raise type(error)(f"{path}: {error.message}", field=error.field, value=error.value) from error


def _column_of(table: Table, catalog: Catalog, name: str) -> str:
    """Find the column that a file's column is: by its whole name, or by that without the family."""
    known = catalog.stored_columns(table)
    if name in known or (name.partition(":")[0] in table.rest and table.takes(name)):
        return name
    described = catalog.own.get(table.name, {})
    spelled = [column for column in {**known, **described} if column.partition(":")[2] == name and table.takes(column)]
    if len(spelled) == 1:
        return spelled[0]
    if not spelled and ":" not in name and len(table.rest) == 1:
        return f"{next(iter(table.rest))}:{name}"
    raise UnknownColumn(f"{table.name} has no place for the column {name!r:.60}", field=name, value=name)


def _types(parts: Sequence[pa.Table]) -> Mapping[str, pa.DataType]:
    """Give each column the type that the first file gives it that says one."""
    types: dict[str, pa.DataType] = {}
    for part in parts:
        for field in part.schema:
            if not pa.types.is_null(field.type):
                types.setdefault(field.name, field.type)
    return types


def _typed(part: pa.Table, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Bring a file's columns to the types; one in which no file has a value is left out."""
    return pa.table({name: cast_exactly(part[name], types[name], name) for name in part.column_names if name in types})


def _with_aliases(table: Table, rows: pa.Table, columns: Projection, view: RowView) -> pa.Table:
    """Give a row for each name of each row, equal names numbered: as they are held, then in the order of the rows."""
    parts = []
    for name in table.aliases:
        named = rows.append_column(ALIAS, rows[name].cast(pa.string()))
        parts.append(named.filter(pc.fill_null(pc.not_equal(named[ALIAS], ""), fill_value=False)))
    unfolded = pa.concat_tables(parts)
    # a name that several columns of a row have stands for it once; so does a row that comes twice
    lower = pc.utf8_lower(unfolded[ALIAS]).to_pylist()
    cells = list(zip(*(unfolded[name].to_pylist() for name in rows.column_names), strict=True))
    first = {pair: place for place, pair in reversed(list(enumerate(zip(lower, cells, strict=True))))}
    unfolded = unfolded.take(pa.array(sorted(first.values()), pa.int64()))
    return unfolded.append_column(DUPLICATE, pa.array(_duplicates(table, unfolded, columns, view), pa.int64()))


def _duplicates(table: Table, rows: pa.Table, columns: Projection, view: RowView) -> list[int]:
    """Give each row its number among those of its alias: the one that it is held under, else the first free one."""
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
    """Give the rows that the store holds of some aliases: alias, number, and cells."""
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
        # the numbers of an alias have no gaps: where one is free, so are all behind it
        aliases = found
        number += 1
