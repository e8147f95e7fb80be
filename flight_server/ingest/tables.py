"""Which rows of which table alerts give: themselves, their stamps, or points of their history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalogue import Catalogue
from flight_server.declarations import Condition, Survey, Table, Where
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
    for table in survey.tables.values():
        if table.rows == "alerts":
            rows = pa.table({**cells.columns, VERSION: cells.version})
        elif table.rows == "stamps":
            rows = _stamp_rows(table, survey.alerts.stamp_columns, cells)
        else:
            rows = _history_rows(table, catalogue, cells)
        if len(rows):
            yield table, rows


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
    return result & ~meets(where.excluded, columns, rows) if where.excluded else result


def _holds(condition: Condition, values: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    tests = []
    if condition.missing is not None:
        tests.append(pc.equal(pc.is_null(values), condition.missing))
    if condition.min is not None:
        tests.append(pc.greater_equal(values, condition.min))
    if condition.max is not None:
        tests.append(pc.less_equal(values, condition.max))
    if condition.equal is not None:
        tests.append(pc.equal(values, condition.equal))
    result: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.logical_and.reduce(
        [pc.fill_null(test, fill_value=False).to_numpy(zero_copy_only=False) for test in tests]
    )
    return result
