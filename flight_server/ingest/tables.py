"""The rows that alerts contribute to each table: alerts, cutouts, and points of their histories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Column
from flight_server.catalog.declarations import Condition, Points, Survey, Table, Where
from flight_server.catalog.missing import missing_as_null
from flight_server.derive import derive, load_derived
from flight_server.ingest.bounds import check_bounds
from flight_server.ingest.casts import cast_exactly, cast_open, stored_type
from flight_server.ingest.cells import SURE, Cells
from flight_server.ingest.left_out_points import LeftOutPoints
from flight_server.protocol.errors import BadValue
from flight_server.storage.protocols import ALERT, VERSION
from flight_server.storage.row_keys import made_cells

__all__ = [
    "computed_columns",
    "computed_from",
    "history_fields",
    "meets",
    "point_types",
    "table_rows",
    "unplaced_alerts",
    "with_made",
]

Columns = Mapping[str, pa.Array]


def history_fields(survey: Survey) -> frozenset[str]:
    """Return the fields of history points that any table needs, unless points become rows."""
    fields: set[str] = set()
    for table in survey.tables.values():
        if table.rows == "history" and not table.with_history:
            names = set(table.columns or ()) | (table.where.columns() if table.where else set())
            fields |= {name.partition(":")[2] for name in names}
    return frozenset(fields)


def point_types(survey: Survey, schema: pa.Schema) -> dict[str, pa.DataType]:
    """Return the cells of a file's history points with the types of the file."""
    place = schema.get_field_index(survey.alerts.histories[0])
    kind = schema.field(place).type if place >= 0 else pa.null()
    points = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else ()
    return {f"{_candidate(survey)}{field.name}": field.type for field in points}


def table_rows(
    survey: Survey, catalog: Catalog, cells: Cells, *, points: bool = False, left_out: LeftOutPoints | None = None
) -> Iterator[tuple[Table, pa.Table]]:
    """Yield the rows that alerts contribute to each table of a survey, with `VERSION`.

    Parameters
    ----------
    survey, catalog
        The tables and types.
    cells
        The alerts.
    points
        Whether points of the histories become rows of the tables that declare `points`, and all points of those that
        declare `if_last`.
    left_out
        Counts the points that are left out.

    Raises
    ------
    BadValue
        A value is outside of the bounds of its column; the message names column and row.
    """
    known = catalog.known[survey.name]
    for part in (cells.columns, *cells.structs.values()):
        check_bounds(part, known)
    computed = computed_columns(survey, cells.of(survey.alert_table), len(cells.version))
    for table in survey.tables.values():
        if table.rows == "alerts":
            rows = _alert_rows(table, catalog, {**cells.of(table), **computed}, cells.version)
        elif table.rows == "stamps":
            rows = _stamp_rows(table, survey.alerts.cutout_columns, cells)
        elif table.rows == "history" and (points or not table.with_history):
            rows = _history_rows(survey, table, catalog, cells, every=points, left_out=left_out)
        else:
            continue
        if len(rows):
            yield table, rows
        if points and table.points is not None and len(found := _points(survey, table, table.points, catalog, cells)):
            yield table, found


def unplaced_alerts(survey: Survey, catalog: Catalog, cells: Cells) -> list[int]:
    """Return the IDs of alerts that meet the conditions of no table of alerts, so that at most their cutouts are stored."""
    placed = np.zeros(len(cells.version), dtype=bool)
    for table in survey.tables.values():
        if table.rows == "alerts" and not placed.all():
            if table.where is None:
                return []
            placed |= meets(table.where, _tested(table.where, table, catalog, cells.of(table), len(placed)), len(placed))
    if placed.all():
        return []
    ids = cells.of(survey.alert_table)[survey.alerts.alert_id].filter(pa.array(~placed))
    return [one for one in ids.to_pylist() if one is not None]


def computed_from(survey: Survey) -> list[Column]:
    """Return the input columns of the computed columns of a survey."""
    declared = load_derived(survey.name)
    derivations = [declared[derived].derivation for derived in survey.alerts.computed.values()]
    return [one for each in derivations for one in (*each.needs.values(), *each.optional.values())]


def computed_columns(survey: Survey, columns: Columns, rows: int) -> Columns:
    """Compute the columns that are stored but that no file has.

    Parameters
    ----------
    survey
        The survey of the alerts.
    columns
        The cells of the alerts; a missing input column counts as null.
    rows
        The number of alerts.
    """
    if not survey.alerts.computed:
        return {}
    found = pa.table({one.name: columns.get(one.name, pa.nulls(rows, one.type)) for one in computed_from(survey)})
    made = derive(found, survey.alerts.computed.values(), load_derived(survey.name))
    return {name: made[derived] for name, derived in survey.alerts.computed.items()}


def _alert_rows(table: Table, catalog: Catalog, columns: Columns, version: pa.StringArray) -> pa.Table:
    """Return the alerts that belong to the table, with the cells that it stores."""
    rows = pa.table({**{name: values for name, values in columns.items() if table.has(name)}, VERSION: version})
    if table.where is not None:
        meant = meets(table.where, _tested(table.where, table, catalog, columns, len(version)), len(version))
        rows = rows if meant.all() else rows.filter(pa.array(meant))
    return with_made(table, catalog, rows)


def with_made(table: Table, catalog: Catalog, rows: pa.Table) -> pa.Table:
    """Return rows with the cells that repeat a part of their keys."""
    if not table.made:
        return rows
    described = catalog.described(table)
    cells = {name: rows[name].combine_chunks() for name in rows.column_names}
    made = made_cells(table.made, cells, {name: described[name].type for name in table.made})
    return pa.table({**cells, **made})


def _stamp_rows(table: Table, names: Mapping[str, str], cells: Cells) -> pa.Table:
    columns = cells.of(table)
    held = {name: columns[name] for name in table.columns or () if name in columns}
    stamps = {names[kind]: values for kind, values in cells.stamps.items()}
    rows = pa.table({**held, **stamps, VERSION: cells.version, ALERT: np.arange(len(cells.version))})
    some = np.logical_or.reduce(
        [s.is_valid().to_numpy(zero_copy_only=False) for s in stamps.values()] or [np.zeros(len(rows), bool)]
    )
    return rows.filter(pa.array(some))


@contextmanager
def _naming_points() -> Iterator[None]:
    """Add to errors that their row is a point of a history."""
    try:
        yield
    except BadValue as error:
        raise BadValue(f"points of histories: {error.message}", field=error.field, value=error.value) from error


def _history_rows(
    survey: Survey, table: Table, catalog: Catalog, cells: Cells, *, every: bool, left_out: LeftOutPoints | None
) -> pa.Table:
    """Return the history points that belong to the table, unnested."""
    names = list(dict.fromkeys([*(table.columns or ()), *(table.where.columns() if table.where else ())]))
    points, parents = _unfolded(cells, table.history)
    own = cells.of(survey.alert_table)
    columns = {}
    for name in names:
        kind = catalog.type_of(table, name)
        field = name.partition(":")[2]
        if name == table.id:
            columns[name] = own[name].take(parents) if name in own else pa.nulls(len(points), kind)
        elif points.type.get_field_index(field) >= 0:
            columns[name] = cast_exactly(pc.struct_field(points, field), kind, name, cells.rounded)
        else:
            columns[name] = pa.nulls(len(points), kind)
    with _naming_points():
        check_bounds(columns, catalog.known[survey.name])
    meant = np.ones(len(points), bool)
    if table.where:
        meant = meets(table.where, _tested(table.where, table, catalog, columns, len(points)), len(points))
    rows = pa.table({**{name: columns[name] for name in table.columns or names}, VERSION: cells.version.take(parents)})
    rows = with_made(table, catalog, rows.filter(pa.array(meant)))
    if not table.if_last or every:
        return rows
    owner = parents.to_numpy()
    last = np.append(owner[1:] != owner[:-1], True) if len(owner) else np.zeros(0, bool)
    stored = np.isin(owner, owner[last & meant])[meant]
    if left_out is not None:
        left_out.add(table, rows, stored)
    return rows.filter(pa.array(stored))


def _unfolded(cells: Cells, history: str) -> tuple[pa.StructArray, pa.Array]:
    """Return all points of all histories of one name, and for each the index of its alert."""
    lists = cells.histories.get(history)
    if lists is None:
        lists = pa.nulls(len(cells.version), pa.list_(pa.struct([])))
    return pc.list_flatten(lists), pc.list_parent_indices(lists)


def _points(survey: Survey, table: Table, declared: Points, catalog: Catalog, cells: Cells) -> pa.Table:
    """Return the history points that may become rows among the alerts, with all their cells."""
    points, parents = _unfolded(cells, table.history)
    family = _candidate(survey)
    described = catalog.described(table)
    columns = {table.id: cells.of(table)[table.id].take(parents)}
    for field in points.type:
        name = f"{family}{field.name}"
        kind = catalog.type_of(table, name) or stored_type(field.type)
        if table.takes(name) and kind is not None:
            values = pc.struct_field(points, field.name)
            if name in described:
                columns[name] = cast_exactly(_sure(values) if pa.types.is_integer(kind) else values, kind, name, cells.rounded)
            else:
                columns[name] = cast_open(values, kind, name)
    meant = meets(declared.where, _tested(declared.where, table, catalog, columns, len(points)), len(points))
    columns[declared.lacks] = pa.nulls(len(points), catalog.type_of(table, declared.lacks))
    # sorts before the version of any alert
    rows = pa.table({**columns, VERSION: pa.array([""] * len(points), pa.string())}).filter(pa.array(meant))
    return with_made(table, catalog, rows)


def _sure(values: pa.Array) -> pa.Array:
    """Replace rounded numbers by null: some files have the candid of a point as float64, which rounds it."""
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.greater_equal(pc.abs(values), float(SURE)), pa.scalar(None, values.type), values)


def _candidate(survey: Survey) -> str:
    """Return the prefix of the cells of an alert's own struct, which history points share."""
    return f"{survey.alerts.structs[survey.alerts.points]}:"


def _tested(where: Where, table: Table, catalog: Catalog, columns: Columns, rows: int) -> Columns:
    """Return the columns of a condition, with null for what is missing."""
    known = catalog.described(table)
    return {
        name: missing_as_null(columns[name], known[name].missing if name in known else ())
        if name in columns
        else pa.nulls(rows, catalog.type_of(table, name))
        for name in where.columns()
    }


def meets(where: Where, columns: Columns, rows: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return a mask of the n rows that meet a condition; in the columns null stands for all that is missing."""
    result = np.ones(rows, dtype=bool)
    for name, condition in where.conditions.items():
        result &= _holds(condition, columns[name])
    if where.excluded:
        result &= ~meets(where.excluded, columns, rows)
    if where.either:
        result &= np.logical_or.reduce([meets(one, columns, rows) for one in where.either])
    return result


def _holds(condition: Condition, values: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    tests = []
    if condition.missing is not None:
        tests.append(pc.equal(pc.is_null(values), condition.missing))
    if condition.min is not None:
        tests.append(pc.greater_equal(values, condition.min))
    if condition.max is not None:
        tests.append(pc.less_equal(values, condition.max))
    if condition.below is not None:
        tests.append(pc.less(values, condition.below))
    if condition.among is not None:
        tests.append(pc.is_in(values, pa.array(condition.among)))
    if condition.begins is not None:
        tests.append(pc.starts_with(values, condition.begins))
    if condition.equal is not None:
        tests.append(pc.equal(values, condition.equal))
    result: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.logical_and.reduce(
        [pc.fill_null(test, fill_value=False).to_numpy(zero_copy_only=False) for test in tests]
    )
    return result
