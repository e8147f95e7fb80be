"""The planner: checks a query against the catalog and decides what is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.declarations import Table
from flight_server.planning.cursors import MOST_OBJECTS, Place, read_cursor
from flight_server.planning.ids import typed_ids
from flight_server.planning.row_selection import RowSelection, select_rows, tagged_table
from flight_server.planning.shape import QueryShape, form_of, make_shape
from flight_server.protocol.errors import BadValue, NotSupported
from flight_server.protocol.query import Query
from flight_server.protocol.times import to_table_time
from flight_server.storage.row_keys import LONGEST_KEY

__all__ = ["Plan", "Planner"]

MAX_SHAPES = 256


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked query.

    Parameters
    ----------
    query
        The query.
    table
        Its table.
    ids
        The requested objects, in the type of the table's ID column; None if rows are not selected by ID.
    selection
        How rows are selected, if neither by ID nor as a whole table.
    shape
        The columns that are read and sent.
    start, stop
        Bounds in the format of the table's time column: start <= time < stop.
    cutout_table
        The table with the locations of cutouts, if cutouts are requested.
    after
        The position after which the answer begins, if the query has a cursor.
    within
        The range of row keys [first, stop) that is read, of a whole table or of spans.
    """

    query: Query
    table: Table
    ids: tuple[str | int, ...] | None
    selection: RowSelection
    shape: QueryShape
    start: float | None
    stop: float | None
    cutout_table: Table | None
    after: Place | None
    within: tuple[bytes, bytes] | None = None

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every batch of the answer."""
        return self.shape.schema

    @property
    def tables(self) -> Iterator[Table]:
        """All tables that are read."""
        yield self.table
        yield from self.added
        if self.selection.index is not None and self.selection.index is not self.table:
            yield self.selection.index
        if self.cutout_table is not None:
            yield self.cutout_table

    @property
    def added(self) -> tuple[Table, ...]:
        """Further tables whose rows are in the answer, in order of precedence."""
        return tuple(source.table for source in self.shape.sources[1:])

    @property
    def is_bounded(self) -> bool:
        """Whether the query has time bounds."""
        return self.start is not None or self.stop is not None

    @property
    def max_rows(self) -> int | None:
        """The most rows to send: the limit, less the rows sent before the cursor."""
        if self.query.limit is None or self.after is None:
            return self.query.limit
        return max(0, self.query.limit - self.after.sent)


class Planner:
    """Planner of queries over one state of the catalog; caches the shapes of recent queries.

    Parameters
    ----------
    catalog
        The tables and columns.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._shapes: dict[tuple[object, ...], QueryShape] = {}

    def plan(self, query: Query) -> Plan:
        """Check a query against the catalog.

        Raises
        ------
        UnknownTable, UnknownColumn, BadValue, NotSupported, CursorMismatch
            Each names the table, column or field at fault.
        """
        catalog = self.catalog
        table = tagged_table(query.tag, catalog.table(query.table), catalog)
        start, stop = _bounds(query, table, catalog)
        selection = select_rows(query, table, catalog, start, stop)
        ids = None
        if query.ids is not None:
            ids = tuple(dict.fromkeys(typed_ids(query.ids, catalog.type_of(table, table.id), table.id_prefix)))
        plan = Plan(
            query=query,
            table=table,
            ids=ids,
            selection=selection,
            shape=self._shape(query, table, selection),
            start=start,
            stop=stop,
            cutout_table=catalog.table(str(table.cutouts)) if query.cutouts else None,
            after=_after(query, table, selection, ids),
            within=_within(query, selection),
        )
        if query.as_of is not None:
            _check_versions(plan, query.as_of)
        return plan

    def _shape(self, query: Query, table: Table, selection: RowSelection) -> QueryShape:
        form = form_of(query)
        found = self._shapes.get(form)
        if found is None:
            found = make_shape(query, table, selection, self.catalog)
            if len(self._shapes) >= MAX_SHAPES:
                self._shapes.clear()
            self._shapes[form] = found
        return found


def _after(query: Query, table: Table, selection: RowSelection, ids: tuple[str | int, ...] | None) -> Place | None:
    """Read the cursor of a resumed query."""
    if query.resume_after is None:
        return None
    if query.limit_objects is not None and not table.by_object:
        message = (
            f"with limit_objects, an answer from {table.name} cannot be resumed: its row keys do not begin with the object ID"
        )
        raise NotSupported(message, field="resume_after")
    # the number of objects in a sky region is not known yet
    objects = MOST_OBJECTS if selection.index is not None else 1 if ids is None else len(ids)
    return read_cursor(query.resume_after, query.fingerprint(), objects)


def _within(query: Query, selection: RowSelection) -> tuple[bytes, bytes] | None:
    if query.key_range is None:
        return None
    if query.ids is not None or selection.index is not None:
        message = f"key_range can be used with whole tables and ranges of them, not with {query.selections[0]}"
        raise NotSupported(message, field="key_range")
    first, stop = (key.encode() for key in query.key_range)
    if max(len(first), len(stop)) > LONGEST_KEY:
        raise BadValue(f"no row key is longer than {LONGEST_KEY} bytes", field="key_range")
    return first, stop


def _bounds(query: Query, table: Table, catalog: Catalog) -> tuple[float | None, float | None]:
    if table.time is None:
        for name, value in (("start", query.start), ("stop", query.stop)):
            if value is not None:
                raise NotSupported(f"{table.name} has no time column: leave out {name}", field=name, value=value)
        return None, None
    if query.start is None and query.stop is None:
        return None, None
    scale = catalog.known[table.survey][table.time].time_scale
    start, stop = (
        None if value is None else to_table_time(name, value, table.time_format, scale)
        for name, value in (("start", query.start), ("stop", query.stop))
    )
    return start, stop


def _check_versions(plan: Plan, as_of: int) -> None:
    """Refuse `as_of` if a table overwrites rows, so that older versions are lost."""
    for table in plan.tables:
        if table.on_equal_key == "overwrite":
            message = f"{table.name} keeps only the newest version of a row: leave out as_of"
            raise NotSupported(message, field="as_of", value=as_of)
