"""The row selection of a ticket: the whole table, objects, spans of row keys, or a sky region."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.declarations import Selection, Table
from flight_server.catalog.selections import AREAS, is_selected_by_time, selections_of
from flight_server.derive.classes import load_classes, nearest_names
from flight_server.derive.designations import packed_designation
from flight_server.protocol.errors import BadValue, NoSelection, NotSupported
from flight_server.protocol.query import FIELDS, Query
from flight_server.storage.scans import Span

__all__ = ["Leading", "RowSelection", "select_rows", "unknown_class"]


@dataclass(frozen=True, slots=True)
class Leading:
    """The rows of exactly the requested name, which come before those of names that begin with it.

    Parameters
    ----------
    span
        The span of keys that begin with the name and its end.
    column
        The column of the name; None if it is only in the key.
    value
        The name.
    lower
        Whether case is ignored.
    """

    span: Span
    column: str | None
    value: str
    lower: bool


@dataclass(frozen=True, slots=True)
class RowSelection:
    """The selection of a ticket in terms of its table.

    Parameters
    ----------
    spans
        Spans of row keys; None if rows are selected otherwise.
    exact
        A column and its required value. Values may contain the separator of row keys, so that a span can contain rows
        with other values.
    leading
        The rows that come first, if names with a common prefix are selected.
    newest
        Whether rows are ordered by time, newest first.
    index
        The index table of positions, if a sky region is selected.
    named
        The requested name and the known names, if the list of known names may be incomplete.
    """

    spans: tuple[Span, ...] | None = None
    exact: tuple[str, str] | None = None
    leading: Leading | None = None
    newest: bool = False
    index: Table | None = None
    named: tuple[str, tuple[str, ...]] | None = None


def select_rows(query: Query, table: Table, catalog: Catalog, start: float | None, stop: float | None) -> RowSelection:
    """Return the selection of rows that a query makes in its table.

    Parameters
    ----------
    query, table, catalog
        The query, its table and the catalog.
    start, stop
        The query's bounds in the format of the table's time column.

    Raises
    ------
    NotSupported
        The table does not support the selection; names the tables that do.
    NoSelection
        Time bounds alone select rows only in tables that are ordered by time.
    """
    field = next(iter(query.selections), None)
    if field is None and not is_selected_by_time(table):
        raise NoSelection(f"start and stop alone select no rows of {table.name}: add a selection such as ids", field="ids")
    if field in {None, "tag"} or (field == "all" and is_selected_by_time(table)):
        return RowSelection(spans=(Span(start=start, stop=stop),), newest=True)
    if field in AREAS:
        return RowSelection(index=_index(table, field, catalog))
    if field in table.select:
        known = catalog.described(table)
        return _selected(table, table.select[field], getattr(query, FIELDS.get(field, field)), start, stop, columns=known)
    if field == "all" or (field == "ids" and table.by_object):
        return RowSelection()
    own = ", ".join(selections_of(table))
    others = ", ".join(name for name, other in catalog.tables.items() if field in selections_of(other))
    raise NotSupported(
        f"{table.name} cannot be selected by {field}, only by {own}; tables with {field}: {others}"[:290], field=field
    )


def tagged_table(tag: str | None, table: Table, catalog: Catalog) -> Table:
    """Return the table with the alerts of a tag, or the given one without a tag.

    Raises
    ------
    NotSupported
        The table has no tags, or only the broker's livestream has the tag.
    BadValue
        There is no such tag; names the most similar ones.
    """
    if tag is None:
        return table
    tags = catalog.surveys[table.survey].tags
    if not table.tagged:
        having = ", ".join(name for name, other in catalog.tables.items() if other.tagged)
        raise NotSupported(f"{table.name} cannot be selected by tag; tables with tag: {having}", field="tag")
    if tag not in tags:
        near = nearest_names(tag, tuple(tags)) or tuple(tags)
        raise BadValue(f"there is no tag {tag!r:.80}; did you mean {', '.join(near)}?"[:290], field="tag", value=tag)
    if tags[tag].livestream:
        raise NotSupported(f"the tag {tag} is in the broker's livestream only", field="tag", value=tag)
    return catalog.table(table.tagged + tag)


def unknown_class(name: str, known: tuple[str, ...]) -> BadValue:
    """Return the error for an unknown class, with the most similar names."""
    near = ", ".join(nearest_names(name, known))
    hint = f"; did you mean {near}?" if near else ""
    return BadValue(f"there is no class {name!r:.80}{hint}", field="class", value=name)


def _index(table: Table, field: str, catalog: Catalog) -> Table:
    if table.pixels is not None:
        return table
    if table.cone is None:
        having = ", ".join(name for name, other in catalog.tables.items() if field in selections_of(other))
        raise NotSupported(f"{table.name} cannot be selected by position; tables that can: {having}", field=field)
    return catalog.table(table.cone)


def _selected(
    table: Table, selection: Selection, value: str, start: float | None, stop: float | None, *, columns: Container[str]
) -> RowSelection:
    text = value.lower() if selection.lower else value
    if selection.form == "designation":
        value = text = packed_designation(text)
    span = Span(prefix=text) if selection.prefix else Span(values=(text,), start=start, stop=stop)
    named = None
    if selection.known:
        classes = load_classes(table.survey)
        named = text, tuple(name for kind in selection.known for name in getattr(classes, kind))
    leading = None
    if selection.prefix and table.key.count("{") > 1:  # else the key of exactly this name is the first one anyway
        column = selection.column if selection.column in columns else None
        leading = Leading(Span(values=(text,)), column, text, selection.lower)
    exact = None if selection.prefix or selection.lower else (selection.column, value)
    return RowSelection(spans=(span,), exact=exact, leading=leading, newest=table.newest_first, named=named)
