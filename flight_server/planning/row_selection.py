"""Which rows of a table a ticket chooses: all, those of objects, those in spans of keys, or those in a part of the sky."""

from __future__ import annotations

from dataclasses import dataclass

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.declarations import Selection, Table
from flight_server.catalog.selections import AREAS, is_selected_by_time, selections_of
from flight_server.derive.classes import load_classes, nearest_names
from flight_server.protocol.errors import BadValue, NoSelection, NotSupported
from flight_server.protocol.query import FIELDS, Query
from flight_server.storage.scans import Span

__all__ = ["RowSelection", "select_rows", "unknown_class"]


@dataclass(frozen=True, slots=True)
class RowSelection:
    """What a ticket's selection means for its table.

    Parameters
    ----------
    spans
        Spans of row keys, None where rows are chosen otherwise.
    exact
        A column and the value that it must have: a key that holds its own separator may lie in a span by chance.
    newest
        Whether rows come by time, the newest first.
    index
        The table of positions that says what lies in the part of the sky asked for, None where none was.
    named
        The name asked for, where it is one of a list that may not be whole; the list beside it.
    """

    spans: tuple[Span, ...] | None = None
    exact: tuple[str, str] | None = None
    newest: bool = False
    index: Table | None = None
    named: tuple[str, tuple[str, ...]] | None = None


def select_rows(query: Query, table: Table, catalog: Catalog, start: float | None, stop: float | None) -> RowSelection:
    """Choose rows.

    Parameters
    ----------
    query, table, catalog
        What is asked of which table.
    start, stop
        The query's bounds in the terms of the table's time column.

    Raises
    ------
    NotSupported
        The table cannot be asked so; names those that can.
    NoSelection
        Bounds on the time alone choose rows of tables kept by time only.
    """
    field = next(iter(query.selections), None)
    if field is None and not is_selected_by_time(table):
        raise NoSelection(f"start and stop alone choose no rows of {table.name}: say which objects", field="ids")
    if field is None or (field == "all" and is_selected_by_time(table)):
        return RowSelection(spans=(Span(start=start, stop=stop),), newest=True)
    if field in AREAS:
        return RowSelection(index=_index(table, field, catalog))
    if field in table.select:
        return _selected(table, table.select[field], getattr(query, FIELDS.get(field, field)), start, stop)
    if field == "all" or (field == "ids" and table.by_object):
        return RowSelection()
    own = ", ".join(selections_of(table))
    others = ", ".join(name for name, other in catalog.tables.items() if field in selections_of(other))
    raise NotSupported(f"{table.name} cannot be asked by {field}, but by {own}; by {field}: {others}"[:290], field=field)


def unknown_class(asked: str, known: tuple[str, ...]) -> BadValue:
    """Give the error for a class that nobody knows, with the nearest names."""
    near = ", ".join(nearest_names(asked, known))
    hint = f"; did you mean {near}?" if near else ""
    return BadValue(f"there is no class {asked!r:.80}{hint}", field="class", value=asked)


def _index(table: Table, field: str, catalog: Catalog) -> Table:
    if table.pixels is not None:
        return table
    if table.cone is None:
        having = ", ".join(name for name, other in catalog.tables.items() if field in selections_of(other))
        raise NotSupported(f"{table.name} has no positions to choose by; {having} have", field=field)
    return catalog.table(table.cone)


def _selected(table: Table, selection: Selection, value: str, start: float | None, stop: float | None) -> RowSelection:
    text = value.lower() if selection.lower else value
    span = Span(prefix=text) if selection.prefix else Span(values=(text,), start=start, stop=stop)
    named = None
    if selection.known:
        classes = load_classes(table.survey)
        named = text, tuple(name for kind in selection.known for name in getattr(classes, kind))
    exact = None if selection.prefix or selection.lower else (selection.column, value)
    return RowSelection(spans=(span,), exact=exact, newest=table.newest_first, named=named)
