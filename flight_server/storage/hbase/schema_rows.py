"""The columns of a table, from its schema rows: one row per release, with the type of every column.

Releases disagree. The columns are the union of all rows, and the newest release takes precedence; numbers widen to the type
that holds those of all releases, and values of another type are recognised by their cells. Types in the catalog take
precedence over both; a column that cannot be read as such is refused, while the others are served. A row of its own keeps
the types that ingests have replaced in the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import TYPES
from flight_server.catalog.declarations import Table
from flight_server.catalog.widening import is_number, widest
from flight_server.protocol.errors import TableRefused

__all__ = [
    "EARLIER",
    "SCHEMA_KEY",
    "WRITER",
    "TableSchema",
    "earlier_types",
    "find_schema",
    "newest_schema_row",
    "release_of",
    "schema_row_key",
]

SCHEMA_KEY = "schema"  # the prefix of the keys of schema rows
EARLIER = "schema-earlier"  # the key of the row of replaced types; sorts before those of releases
WRITER = "schema-writer"  # the key of the row that names the ingest under way; so does this one
OWN_ROWS = frozenset({EARLIER, WRITER})
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
    widening
        The columns that the catalog does not type, so that their types may widen.
    refused
        The columns that the catalog types in another way, with the reason why they are not served.
    """

    row: str
    columns: Mapping[str, pa.DataType]
    stored: Mapping[str, tuple[str, ...]]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    widening: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)


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
    return max((key for key in rows if key not in OWN_ROWS), key=release_of, default=schema_row_key("", ""))


def earlier_types(rows: Mapping[str, Mapping[str, str]], key: str, new: Mapping[str, str]) -> dict[str, str]:
    """Return the cells to write to the row `EARLIER` before types in the row of a release are replaced.

    Parameters
    ----------
    rows
        The schema rows.
    key, new
        The row of the release, and the types that are put into it.

    Examples
    --------
    >>> rows = {"schema_4_6": {"d:x": "integer"}, "schema-earlier": {"d:x": "boolean"}}
    >>> earlier_types(rows, "schema_4_6", {"d:x": "double", "d:y": "long"})
    {'d:x': 'integer,boolean'}
    """
    cells = {}
    for name in new:
        replaced = rows.get(key, {}).get(name)
        known = _earlier(rows, name)
        if replaced is not None and _is_known(replaced) and replaced not in known:
            cells[name] = ",".join([replaced, *known])
    return cells


def _earlier(rows: Mapping[str, Mapping[str, str]], name: str) -> list[str]:
    return [kind for kind in rows.get(EARLIER, {}).get(name, "").split(",") if kind]


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
        The row does not exist, lacks the object ID or the time, or has them in another type than the catalog.
    """
    if table.text_cells and not rows.keys() - OWN_ROWS:
        return _text_schema(table, catalog)
    order = _precedence(table, rows, wanted)
    stored = _stored_kinds(rows, order)
    refused = _contradictions(table, order[0], rows[order[0]], catalog)
    for needed in filter(table.takes, (table.id, *([table.time] if table.time else []))):
        if needed in refused:
            raise TableRefused(f"{table.name}: {refused[needed]}", field="table", value=table.name)
        if needed not in rows[order[0]]:
            raise TableRefused(f"{table.name}: the schema row {order[0]} lacks {needed}", field="table", value=table.name)
    columns: dict[str, pa.DataType] = {}
    unreadable: dict[str, str] = {}
    for column in sorted(stored):
        kinds = stored[column]
        if not _is_known(kinds[0]):
            unreadable[column] = kinds[0]
        elif catalog.storable(table, column) and column not in refused:
            columns[column] = _type_of(column, kinds, table, catalog)
    readable = {
        column: tuple(FURTHER_TYPES.get(kind, kind) if kind != "short" else kind for kind in kinds if _is_known(kind))
        for column, kinds in stored.items()
        if column not in unreadable
    }
    widening = frozenset(columns.keys() - catalog.described(table))
    return TableSchema(order[0], columns, readable, unreadable, widening, refused)


def _precedence(table: Table, rows: Iterable[str], wanted: str) -> list[str]:
    """Return the keys of the schema rows of releases, that which takes precedence first."""
    order = sorted((key for key in rows if key not in OWN_ROWS), key=release_of, reverse=True)
    if not order:
        message = f"{table.name} has no schema row, so the types of its cells are unknown"
        raise TableRefused(message, field="table", value=table.name)
    if wanted == NEWEST:
        return order
    if wanted not in order:
        known = ", ".join(order[:5])
        raise TableRefused(f"{table.name} has no schema row {wanted}; it has {known}", field="table", value=table.name)
    return [wanted, *(key for key in order if key != wanted)]


def _text_schema(table: Table, catalog: Catalog) -> TableSchema:
    """Return the schema of a table that the broker writes as text, without a schema row."""
    described = catalog.described(table)
    columns = {name: described[name].type for name in table.columns or () if catalog.storable(table, name)}
    return TableSchema("", columns, dict.fromkeys(columns, ("string",)))


def _stored_kinds(rows: Mapping[str, Mapping[str, str]], order: Iterable[str]) -> dict[str, list[str]]:
    """Return the type names of each column, in the order of the rows, then those that ingests have replaced."""
    stored: dict[str, list[str]] = {}
    for key in order:
        for column, kind in rows[key].items():
            kinds = stored.setdefault(column, [])
            if kind not in kinds:
                kinds.append(kind)
    for column, kinds in stored.items():
        kinds += [kind for kind in _earlier(rows, column) if kind not in kinds]
    return stored


def release_of(key: str) -> tuple[tuple[int, ...], ...]:
    """Return the sort key of a release: its version numbers, as integers."""
    return tuple(tuple(int(number) for number in re.findall(r"\d+", part)) for part in key.split("_")[1:])


def _is_known(kind: str) -> bool:
    return kind in TYPES or kind in FURTHER_TYPES


def _type_of(column: str, kinds: Iterable[str], table: Table, catalog: Catalog) -> pa.DataType:
    """Return the type of a column in answers: that of the catalog, or the widest of its numbers, or else the newest."""
    known = catalog.described(table).get(column)
    if known is not None:
        return known.type
    types = [TYPES[FURTHER_TYPES.get(kind, kind)] for kind in kinds if _is_known(kind)]
    return reduce(widest, filter(is_number, types)) if is_number(types[0]) else types[0]


def _contradictions(table: Table, key: str, row: Mapping[str, str], catalog: Catalog) -> dict[str, str]:
    """Return the columns of a row whose type cannot be converted to that of the catalog, with the reason."""
    known = catalog.described(table)
    found = {}
    for column, kind in row.items():
        if column not in known or not catalog.storable(table, column):
            continue
        wanted = known[column].type
        is_needed = column in {table.id, table.time}
        if not _is_known(kind) or not _agree(wanted, TYPES[FURTHER_TYPES.get(kind, kind)], parses=not is_needed):
            found[column] = f"the schema row {key} has {column} as {kind}, but the catalog as {wanted}"
    return found


def _agree(wanted: pa.DataType, found: pa.DataType, *, parses: bool) -> bool:
    """Return whether cells of one type can be cast to the other unambiguously; `parses`: also text to numbers."""
    if wanted == found:
        return True
    if parses and pa.types.is_string(found) and (pa.types.is_floating(wanted) or pa.types.is_integer(wanted)):
        return True
    if pa.types.is_floating(wanted):
        return bool(pa.types.is_floating(found) or pa.types.is_integer(found))
    return bool(pa.types.is_integer(wanted) and pa.types.is_integer(found))
