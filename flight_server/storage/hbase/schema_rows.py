"""The columns of a table, from its schema rows: one row per release, with the type of every column.

Releases disagree. The columns are the union of all rows, and the newest release takes precedence; values of an older
type are recognised by the length of their cells. Types in the catalog take precedence over both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import TYPES
from flight_server.catalog.declarations import Table
from flight_server.protocol.errors import TableRefused

__all__ = ["SCHEMA_KEY", "TableSchema", "find_schema", "newest_schema_row", "schema_row_key"]

SCHEMA_KEY = "schema"  # the prefix of the keys of schema rows
NEWEST = "newest"
# type names that occur only in schema rows, and the types to read them as
FURTHER_TYPES = {"short": "integer", "fits/image": "binary"}


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of one table.

    Parameters
    ----------
    row
        The key of the schema row that takes precedence.
    columns
        The type of cells in answers, by column, without columns that the declaration of the table does not allow.
    stored
        The type names under which releases wrote them, newest first.
    unreadable
        The columns of unsupported types, with their type names.
    """

    row: str
    columns: Mapping[str, pa.DataType]
    stored: Mapping[str, tuple[str, ...]]
    unreadable: Mapping[str, str] = field(default_factory=dict)


def schema_row_key(broker: str, science: str) -> str:
    """Return the key of the schema row of a release.

    >>> schema_row_key("4.0", "6.1.1")
    'schema_4.0_6.1.1'
    """
    return f"{SCHEMA_KEY}_{broker or 0}_{science or 0}"


def newest_schema_row(rows: Iterable[str]) -> str:
    """Return the key of the schema row of the newest release, or one older than all releases if there is none.

    >>> newest_schema_row(["schema_3.9_6.1", "schema_3.10_6.0"])
    'schema_3.10_6.0'
    """
    return max(rows, key=_release, default=schema_row_key("", ""))


def find_schema(table: Table, rows: Mapping[str, Mapping[str, str]], catalog: Catalog, wanted: str = NEWEST) -> TableSchema:
    """Return the schema of a table.

    Parameters
    ----------
    table
        The table.
    rows
        The schema rows: by key, the type name of each column.
    catalog
        The known columns.
    wanted
        The key of the row that takes precedence, or `newest`.

    Raises
    ------
    TableRefused
        The row does not exist, or contradicts the catalog.
    """
    if not rows:
        raise TableRefused(
            f"{table.name} has no schema row, so the types of its cells are unknown", field="table", value=table.name
        )
    order = sorted(rows, key=_release, reverse=True)
    if wanted != NEWEST:
        if wanted not in rows:
            known = ", ".join(order[:5])
            raise TableRefused(f"{table.name} has no schema row {wanted}; it has {known}", field="table", value=table.name)
        order = [wanted, *(key for key in order if key != wanted)]
    stored: dict[str, list[str]] = {}
    for key in order:
        for column, kind in rows[key].items():
            kinds = stored.setdefault(column, [])
            if kind not in kinds:
                kinds.append(kind)
    _check(table, order[0], rows[order[0]], catalog)
    columns: dict[str, pa.DataType] = {}
    unreadable: dict[str, str] = {}
    for column in sorted(stored):
        kinds = stored[column]
        if not _is_known(kinds[0]):
            unreadable[column] = kinds[0]
        elif catalog.storable(table, column):
            columns[column] = _type_of(column, kinds[0], table, catalog)
    readable = {
        column: tuple(FURTHER_TYPES.get(kind, kind) if kind != "short" else kind for kind in kinds if _is_known(kind))
        for column, kinds in stored.items()
        if column not in unreadable
    }
    return TableSchema(order[0], columns, readable, unreadable)


def _release(key: str) -> tuple[tuple[int, ...], ...]:
    """Return the sort key of a release: its version numbers, as integers."""
    return tuple(tuple(int(number) for number in re.findall(r"\d+", part)) for part in key.split("_")[1:])


def _is_known(kind: str) -> bool:
    return kind in TYPES or kind in FURTHER_TYPES


def _type_of(column: str, kind: str, table: Table, catalog: Catalog) -> pa.DataType:
    known = catalog.described(table).get(column)
    return known.type if known is not None else TYPES[FURTHER_TYPES.get(kind, kind)]


def _check(table: Table, key: str, row: Mapping[str, str], catalog: Catalog) -> None:
    """Raise TableRefused if a row has a column in a type that cannot be converted to that of the catalog."""
    known = catalog.described(table)
    for column, kind in row.items():
        if column not in known or not catalog.storable(table, column):
            continue
        if not _is_known(kind) or not _agree(known[column].type, TYPES[FURTHER_TYPES.get(kind, kind)]):
            raise TableRefused(
                f"{table.name}: the schema row {key} has {column} as {kind}, but the catalog as {known[column].type}",
                field="table",
                value=table.name,
            )
    for needed in (table.id, table.time):
        if needed is not None and needed not in row:
            raise TableRefused(f"{table.name}: the schema row {key} lacks {needed}", field="table", value=table.name)


def _agree(wanted: pa.DataType, found: pa.DataType) -> bool:
    """Return whether cells of one type can be cast to the other unambiguously."""
    if wanted == found:
        return True
    if pa.types.is_floating(wanted):
        return bool(pa.types.is_floating(found) or pa.types.is_integer(found))
    return bool(pa.types.is_integer(wanted) and pa.types.is_integer(found))
