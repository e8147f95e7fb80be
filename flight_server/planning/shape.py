"""The shape of a query: columns and schemas. Queries of the same form share it, so that it is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Column, Projection, empty_batch
from flight_server.catalog.declarations import Added, Table
from flight_server.derive import DerivedColumn, load_derived
from flight_server.derive.evaluation import find_derived
from flight_server.planning.derivable_columns import refusal
from flight_server.planning.row_selection import RowSelection
from flight_server.protocol.errors import BadValue, NotSupported
from flight_server.protocol.query import Query
from flight_server.storage.row_keys import parts_of

__all__ = ["LIGHT_CURVE", "QueryShape", "Source", "cutout_key_columns", "form_of", "make_shape", "nested_schema"]

DERIVED = "v:"
ADDED = {"upper_limits": "upper limits", "forced": "forced photometry"}  # ticket fields, and tables, with further rows
LIGHT_CURVE = "lightcurve"


@dataclass(frozen=True, slots=True)
class Source:
    """A table whose rows are part of an object's light curve.

    Parameters
    ----------
    table
        The table.
    tag
        The value in the tag column of its rows.
    columns
        The columns of the scan that the table has.
    """

    table: Table
    tag: str
    columns: Projection


@dataclass(frozen=True)
class QueryShape:
    """The columns of a query's answer, and of its scan.

    Parameters
    ----------
    columns
        The columns of the answer in order, without the cutouts.
    derived
        The derived ones of them, by name.
    cutouts
        The cutout columns, in order: one for each kind of cutout, two in the format `array`.
    read
        The columns to scan: the stored columns of the answer, and those that the stages need.
    nested
        Whether the answer has one row for each object.
    object_id
        The column of the object ID.
    sources
        The tables that are merged by time, the query's own first; empty if only that one is read.
    added
        The further rows that the query wants of each object, such as upper limits.
    """

    columns: Projection
    derived: Mapping[str, DerivedColumn]
    cutouts: tuple[Column, ...]
    read: Projection
    nested: bool
    object_id: Column
    sources: tuple[Source, ...] = ()
    added: Added | None = None

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every batch of the answer."""
        if self.nested:
            return nested_schema(self.columns, self.object_id)
        return pa.schema([*self.columns.schema, *(column.field() for column in self.cutouts)])

    @cached_property
    def empty(self) -> pa.RecordBatch:
        """A batch of the answer with zero rows."""
        return empty_batch(self.schema)


def nested_schema(columns: Projection, object_id: Column) -> pa.Schema:
    """Return the schema of nested light curves: the ID column, then a list of structs of all other columns in order."""
    others = [column.field() for column in columns if column.name != object_id.name]
    curve = pa.field(LIGHT_CURVE, pa.list_(pa.struct(others)), metadata={"description": "the rows of the object, by time"})
    return pa.schema([object_id.field(), curve])


def form_of(query: Query) -> tuple[object, ...]:
    """Return the parts of a query that determine its shape, as a cache key."""
    limits = (query.start is None, query.stop is None, query.limit_objects is None)
    return (
        query.table,
        query.columns,
        query.cutouts,
        query.cutout_format,
        query.cutout_planes,
        query.upper_limits,
        query.forced,
        query.tag,
        query.layout,
        query.selections,
        limits,
    )


def make_shape(query: Query, table: Table, selection: RowSelection, catalog: Catalog) -> QueryShape:
    """Compute the shape of a query.

    Raises
    ------
    UnknownColumn, BadValue, NotSupported
        Each names the column or field at fault.
    """
    added = _added(query, table, catalog)
    columns, derived = _columns(query, table, catalog, added)
    object_id = catalog.described(table)[table.id]
    shape = QueryShape(
        columns=columns,
        derived=derived,
        cutouts=_cutouts(query, table, catalog),
        read=columns,
        nested=query.layout == "nested",
        object_id=object_id,
        added=added,
    )
    _check_layout(query, table, shape)
    # objects found by position are read by ID
    by_id = query.ids is not None or selection.index not in (None, table)
    known = catalog.described(table)
    left_out = table.id if shape.nested and by_id else None  # nested rows take the ID from the request
    stored = [column for column in columns if column.name not in derived and column.name != left_out]
    needed = dict.fromkeys(_needed(query, table, selection, shape, catalog, by_id=by_id))
    read = Projection(stored).with_further(known[name] for name in needed)
    same = [column.name for column in read] == [column.name for column in columns]
    read = columns if same else read
    return replace(shape, read=read, sources=tuple(_sources(table, read, catalog, added)) if added else ())


def cutout_key_columns(table: Table, cutouts: Table) -> tuple[str, ...]:
    """Return the columns that the row keys of a table of cutouts are made of, unless they are those of the rows.

    >>> from flight_server.catalog.declarations import load_surveys
    >>> tables = load_surveys()["ztf"].tables
    >>> cutout_key_columns(tables["ztf"], tables["ztf.cutouts"])
    ()
    """
    return () if table.key == cutouts.key else parts_of(cutouts)


def _sources(table: Table, read: Projection, catalog: Catalog, added: Added) -> Iterator[Source]:
    """Yield the tables of a light curve with further rows."""
    for source, tag in ((table, added.own), *((catalog.table(name), tag) for name, tag in added.add.items())):
        having = (c for c in read if c.name != added.tag and (source.columns is None or c.name in source.columns))
        yield Source(source, tag, Projection(having))


def _needed(
    query: Query, table: Table, selection: RowSelection, shape: QueryShape, catalog: Catalog, *, by_id: bool
) -> Iterator[str]:
    """Yield the columns that the stages need, in the answer or not."""
    bounded = query.start is not None or query.stop is not None or shape.added is not None or selection.newest
    if bounded and table.time is not None:
        yield table.time
    if selection.exact is not None:
        yield selection.exact[0]
    if selection.leading is not None and selection.leading.column is not None:
        yield selection.leading.column
    # an answer of cutouts alone needs rows too
    if not by_id or not shape.columns or shape.derived or query.limit_objects is not None:
        yield table.id
    if shape.cutouts:
        yield from cutout_key_columns(table, catalog.table(str(table.cutouts)))
    possible = catalog.possible_columns(table) if shape.derived else {}
    for column in shape.derived.values():
        yield from column.reads(possible)


def _columns(query: Query, table: Table, catalog: Catalog, added: Added | None) -> tuple[Projection, Mapping[str, DerivedColumn]]:
    """Return the columns of the answer, and which of them are derived."""
    names = query.columns
    derived = {name: _derived(query, table, catalog, name) for name in names or () if name.startswith(DERIVED)}
    if added is None and not derived:
        return catalog.columns(table, names), {}
    tag = catalog.known[table.survey][added.tag] if added else None
    if names is None:
        columns = catalog.columns(table, None)
    else:
        made = {name: column.column for name, column in derived.items()} | ({tag.name: tag} if tag else {})
        columns = Projection(made[name] if name in made else catalog.column(table, name) for name in names)
    return columns.with_further([tag] if tag else []), derived


def _derived(query: Query, table: Table, catalog: Catalog, name: str) -> DerivedColumn:
    column = find_derived(name, load_derived(table.survey))
    refused = refusal(column, table, catalog.possible_columns(table), query.selections)
    if refused is not None:
        raise refused
    return column


def _added(query: Query, table: Table, catalog: Catalog) -> Added | None:
    """Return the further rows that a query wants."""
    found = None
    for field, what in ADDED.items():
        if not getattr(query, field):
            continue
        found = getattr(table, field)
        if found is None:
            having = ", ".join(name for name, other in catalog.tables.items() if getattr(other, field))
            raise NotSupported(f"{table.name} has no {what}; tables with {field}: {having}", field=field, value=True)
    return found


def _cutouts(query: Query, table: Table, catalog: Catalog) -> tuple[Column, ...]:
    if not query.cutouts:
        return ()
    if table.cutouts is None:
        having = ", ".join(name for name, other in catalog.tables.items() if other.cutouts)
        raise NotSupported(f"{table.name} has no cutouts; tables with cutouts: {having}", field="cutouts", value=query.cutouts[0])
    return catalog.cutout_columns(table, query.cutouts, query.cutout_format, query.cutout_planes)


def _check_layout(query: Query, table: Table, shape: QueryShape) -> None:
    if not shape.nested:
        return
    if not table.by_object:
        message = f"the row keys of {table.name} do not begin with the object ID, which layout nested needs"
        raise NotSupported(message, field="layout", value=query.layout)
    if query.cutouts:
        raise NotSupported("layout nested cannot have cutouts: leave one of them out", field="layout", value=query.layout)
    if all(column.name == table.id for column in shape.columns):
        message = f"a light curve needs columns: name some in addition to {table.id}"
        raise BadValue(message, field="columns", value=table.id)
