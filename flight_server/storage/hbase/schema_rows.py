"""What a table holds, found from its schema rows: one row a release, which names the type of every column.

Releases disagree. The columns are the union of all rows and the newest release has the say; what an older one
wrote is told apart by the length of its cells. Types that the catalog knows are the catalog's.
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

SCHEMA_KEY = "schema"  # what the keys of schema rows begin with
NEWEST = "newest"
# type names that only schema rows have, and what such cells are read as
FURTHER_TYPES = {"short": "integer", "fits/image": "binary"}


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of one table.

    Parameters
    ----------
    row
        The key of the schema row that has the say.
    columns
        The type that cells have in answers, by column; those that the table's declaration has no place for are left out.
    stored
        The type names that releases wrote them with, the newest first.
    unreadable
        The columns of types that nothing here reads, with their type names.
    """

    row: str
    columns: Mapping[str, pa.DataType]
    stored: Mapping[str, tuple[str, ...]]
    unreadable: Mapping[str, str] = field(default_factory=dict)


def schema_row_key(broker: str, science: str) -> str:
    """Give the key of a release's schema row.

    >>> schema_row_key("4.0", "6.1.1")
    'schema_4.0_6.1.1'
    """
    return f"{SCHEMA_KEY}_{broker or 0}_{science or 0}"


def newest_schema_row(rows: Iterable[str]) -> str:
    """Give the key of the newest release's schema row, or, where there is none, of one older than all releases.

    >>> newest_schema_row(["schema_3.9_6.1", "schema_3.10_6.0"])
    'schema_3.10_6.0'
    """
    return max(rows, key=_release, default=schema_row_key("", ""))


def find_schema(table: Table, rows: Mapping[str, Mapping[str, str]], catalog: Catalog, wanted: str = NEWEST) -> TableSchema:
    """Find what a table holds.

    Parameters
    ----------
    table
        The table.
    rows
        Its schema rows: by key, the type name of each column.
    catalog
        What is known of columns.
    wanted
        The key of the row that has the say, or `newest`.

    Raises
    ------
    TableRefused
        There is no such row, or it contradicts the catalog.
    """
    if not rows:
        raise TableRefused(
            f"{table.name} has no schema row, so nobody knows the types of its cells", field="table", value=table.name
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
    """Give what releases are ordered by: their version numbers, as numbers."""
    return tuple(tuple(int(number) for number in re.findall(r"\d+", part)) for part in key.split("_")[1:])


def _is_known(kind: str) -> bool:
    return kind in TYPES or kind in FURTHER_TYPES


def _type_of(column: str, kind: str, table: Table, catalog: Catalog) -> pa.DataType:
    known = catalog.described(table).get(column)
    return known.type if known is not None else TYPES[FURTHER_TYPES.get(kind, kind)]


def _check(table: Table, key: str, row: Mapping[str, str], catalog: Catalog) -> None:
    """Refuse a row that has a column as something that cannot be turned into what the catalog has."""
    known = catalog.described(table)
    for column, kind in row.items():
        if column not in known or not catalog.storable(table, column):
            continue
        if not _is_known(kind) or not _agree(known[column].type, TYPES[FURTHER_TYPES.get(kind, kind)]):
            raise TableRefused(
                f"{table.name}: the schema row {key} has {column} as {kind}, the catalog as {known[column].type}",
                field="table",
                value=table.name,
            )
    for needed in (table.id, table.time):
        if needed is not None and needed not in row:
            raise TableRefused(f"{table.name}: the schema row {key} lacks {needed}", field="table", value=table.name)


def _agree(wanted: pa.DataType, found: pa.DataType) -> bool:
    """Say whether cells of one type can be cast to the other without guessing."""
    if wanted == found:
        return True
    if pa.types.is_floating(wanted):
        return bool(pa.types.is_floating(found) or pa.types.is_integer(found))
    return bool(pa.types.is_integer(wanted) and pa.types.is_integer(found))
