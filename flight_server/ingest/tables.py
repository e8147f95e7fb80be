"""Which rows of which table alerts give: themselves, all or some, their stamps, or points of their history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalogue import Catalogue
from flight_server.declarations import Condition, Survey, Table, Where
from flight_server.derive import derive, load_derived
from flight_server.ingest.casting import cast_exactly
from flight_server.ingest.cells import Cells
from flight_server.storage.protocols import ALERT, VERSION

__all__ = ["history_fields", "meets", "table_rows"]

Columns = Mapping[str, pa.Array]


def history_fields(survey: Survey) -> frozenset[str]:
    """Give the fields of a history point that any table needs."""
    fields: set[str] = set()
    for table in survey.tables.values():
        if table.rows == "history":
            names = set(table.columns or ()) | (table.where.columns() if table.where else set())
            fields |= {name.partition(":")[2] for name in names}
    return frozenset(fields)


def table_rows(survey: Survey, catalogue: Catalogue, cells: Cells) -> Iterator[tuple[Table, pa.Table]]:
    """Give the rows of each table of a survey that these alerts bring, with `VERSION`."""
    columns = {**cells.columns, **_computed(survey, cells)}
    for table in survey.tables.values():
        if table.rows == "alerts":
            rows = _alert_rows(table, catalogue, columns, cells.version)
        elif table.rows == "stamps":
            rows = _stamp_rows(table, survey.alerts.stamp_columns, cells)
        elif table.rows == "history":
            rows = _history_rows(table, catalogue, cells)
        else:
            continue
        if len(rows):
            yield table, rows


def _computed(survey: Survey, cells: Cells) -> Columns:
    """Make the columns that are stored but in no file; a column that they need and the file lacks is null."""
    if not survey.alerts.computed:
        return {}
    declared = load_derived(survey.name)
    made: dict[str, pa.Array] = {}
    for name, derived in survey.alerts.computed.items():
        derivation = declared[derived].derivation
        inputs = [*derivation.needs.values(), *derivation.optional.values()]
        found = {one.name: cells.columns.get(one.name, pa.nulls(len(cells.version), one.type)) for one in inputs}
        made[name] = derive(pa.table(found), [derived], declared)[derived]
    return made


def _alert_rows(table: Table, catalogue: Catalogue, columns: Columns, version: pa.StringArray) -> pa.Table:
    """Give the alerts that the table is for, with the cells that it has a place for."""
    rows = pa.table({**{name: values for name, values in columns.items() if table.takes(name)}, VERSION: version})
    if table.where is None:
        return rows
    tested = {
        name: columns[name] if name in columns else pa.nulls(len(version), catalogue.type_of(table, name))
        for name in table.where.columns()
    }
    meant = meets(table.where, tested, len(version))
    return rows if meant.all() else rows.filter(pa.array(meant))


def _stamp_rows(table: Table, names: Mapping[str, str], cells: Cells) -> pa.Table:
    held = {name: cells.columns[name] for name in table.columns or () if name in cells.columns}
    stamps = {names[kind]: values for kind, values in cells.stamps.items()}
    rows = pa.table({**held, **stamps, VERSION: cells.version, ALERT: np.arange(len(cells.version))})
    some = np.logical_or.reduce(
        [s.is_valid().to_numpy(zero_copy_only=False) for s in stamps.values()] or [np.zeros(len(rows), bool)]
    )
    return rows.filter(pa.array(some))


def _history_rows(table: Table, catalogue: Catalogue, cells: Cells) -> pa.Table:
    """Unfold the histories and keep the points that the table is for."""
    names = list(dict.fromkeys([*(table.columns or ()), *(table.where.columns() if table.where else ())]))
    lists = cells.history
    if lists is None or pa.types.is_null(lists.type):
        lists = pa.nulls(len(cells.version), pa.list_(pa.struct([])))
    points, parents = pc.list_flatten(lists), pc.list_parent_indices(lists)
    columns = {}
    for name in names:
        kind = catalogue.type_of(table, name)
        field = name.partition(":")[2]
        if name == table.id:
            columns[name] = cells.columns[name].take(parents)
        elif points.type.get_field_index(field) >= 0:
            columns[name] = cast_exactly(pc.struct_field(points, field), kind, name)
        else:
            columns[name] = pa.nulls(len(points), kind)
    meant = meets(table.where, columns, len(points)) if table.where else np.ones(len(points), bool)
    if table.if_last:
        owner = parents.to_numpy()
        last = np.append(owner[1:] != owner[:-1], True) if len(owner) else np.zeros(0, bool)
        meant &= np.isin(owner, owner[last & meant])
    rows = pa.table({**{name: columns[name] for name in table.columns or names}, VERSION: cells.version.take(parents)})
    return rows.filter(pa.array(meant))


def meets(where: Where, columns: Columns, rows: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Say which of n rows meet a condition."""
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
