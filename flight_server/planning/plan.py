"""From a query to a plan: what the catalog makes of it, decided before the first byte."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from flight_server.catalog.catalog import Catalog, Column, schema_of
from flight_server.catalog.declarations import Table
from flight_server.derive import DerivedColumn, load_derived
from flight_server.derive.evaluation import find_derived
from flight_server.execution.nested_layout import nested_schema
from flight_server.planning.cursors import LONGEST_KEY, MOST_OBJECTS, Place, read_cursor
from flight_server.planning.derivable_columns import refusal
from flight_server.planning.row_selection import RowSelection, choose
from flight_server.protocol.errors import BadValue, NotSupported
from flight_server.protocol.query import Query
from flight_server.protocol.times import to_table_time

__all__ = ["Plan", "endpoint_queries", "make_plan", "typed_ids"]

ENDPOINT_OBJECTS = 1000
DERIVED = "v:"


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked query.

    Parameters
    ----------
    query
        What was asked.
    table
        Its table.
    ids
        The objects asked for, as the table types them; None for the whole table.
    choice
        How the rows are found, where neither objects nor the whole table are asked for.
    columns
        The columns of the answer in order, but for the cutouts.
    derived
        Those of them that are derived, by name.
    cutouts
        The cutout columns, in order: one for each kind of stamp, as arrays two.
    start, stop
        Bounds on the table's time column in its own terms: start <= time < stop.
    added
        Further tables whose rows are wanted, with the tag of each; the most wanted first.
    stamps
        The table that says where the cutouts are, if any are wanted.
    after
        The place after which the answer begins, if the query goes on from a cursor.
    object_id
        The column that says whose a row is.
    within
        The range of row keys [first, stop) that the answer keeps to, of a whole table or of spans.
    """

    query: Query
    table: Table
    ids: tuple[str | int, ...] | None
    choice: RowSelection
    columns: tuple[Column, ...]
    derived: Mapping[str, DerivedColumn]
    cutouts: tuple[Column, ...]
    start: float | None
    stop: float | None
    added: tuple[tuple[Table, str], ...]
    stamps: Table | None
    object_id: Column
    after: Place | None
    within: tuple[bytes, bytes] | None = None

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every batch of the answer."""
        if self.query.layout == "nested":
            return nested_schema(self.columns, self.object_id)
        return schema_of(self.columns + self.cutouts if self.cutouts else self.columns)

    @property
    def tables(self) -> Iterator[Table]:
        """All tables that are read."""
        yield self.table
        yield from (table for table, _ in self.added)
        if self.choice.index is not None and self.choice.index is not self.table:
            yield self.choice.index
        if self.stamps is not None:
            yield self.stamps

    @property
    def most(self) -> int | None:
        """The most rows that are sent: what the limit leaves behind the cursor."""
        if self.query.limit is None or self.after is None:
            return self.query.limit
        return max(0, self.query.limit - self.after.sent)


def make_plan(query: Query, catalog: Catalog) -> Plan:
    """Check a query against the catalog.

    Raises
    ------
    UnknownTable, UnknownColumn, BadValue, NotSupported, CursorMismatch
        Each names what is at fault.
    """
    table = catalog.table(query.table)
    start, stop = _bounds(query, table, catalog)
    choice = choose(query, table, catalog, start, stop)
    ids = None if query.ids is None else tuple(dict.fromkeys(typed_ids(query.ids, catalog.type_of(table, table.id))))
    columns, derived = _columns(query, table, catalog)
    plan = Plan(
        query=query,
        table=table,
        ids=ids,
        choice=choice,
        columns=columns,
        derived=derived,
        cutouts=_cutouts(query, table, catalog),
        start=start,
        stop=stop,
        added=_added(query, table, catalog),
        stamps=catalog.table(str(table.cutouts)) if query.cutouts else None,
        object_id=catalog.described(table)[table.id],
        after=_after(query, table, choice, ids),
        within=_within(query, choice),
    )
    _check_layout(plan)
    if query.as_of is not None:
        _check_versions(plan, query.as_of)
    return plan


def endpoint_queries(query: Query, parts: Sequence[tuple[bytes, bytes]] = (), most: int | None = None) -> Iterator[Query]:
    """Split a query into ones of about a thousand objects or of one part of a table each.

    One with a limit or a cursor stays whole.

    Parameters
    ----------
    query
        What was asked for.
    parts
        Ranges of row keys that the store reads apart, where not objects are asked for.
    most
        The most queries that it may become.
    """
    if query.limit is not None or query.limit_objects is not None or query.resume_after is not None:
        yield query
    elif query.ids is not None:
        step = ENDPOINT_OBJECTS if most is None else max(ENDPOINT_OBJECTS, -(-len(query.ids) // most))
        for first in range(0, len(query.ids), step):
            yield replace(query, ids=query.ids[first : first + step])
    elif len(parts) <= 1 or most == 1:
        yield query
    else:
        step = 1 if most is None else -(-len(parts) // most)
        for number in range(0, len(parts), step):
            last = min(number + step, len(parts)) - 1
            yield replace(query, key_range=(parts[number][0].decode(), parts[last][1].decode()))


def _after(query: Query, table: Table, choice: RowSelection, ids: tuple[str | int, ...] | None) -> Place | None:
    """Read the cursor that the query goes on from."""
    if query.resume_after is None:
        return None
    if query.limit_objects is not None and not table.by_object:
        message = f"with limit_objects, an answer from {table.name} does not go on from a cursor: its objects' rows are apart"
        raise NotSupported(message, field="resume_after")
    # how many objects lie in a part of the sky is not known yet
    objects = MOST_OBJECTS if choice.index is not None else 1 if ids is None else len(ids)
    return read_cursor(query.resume_after, query.fingerprint(), objects)


def _within(query: Query, choice: RowSelection) -> tuple[bytes, bytes] | None:
    if query.key_range is None:
        return None
    if query.ids is not None or choice.index is not None:
        message = f"key_range goes with whole tables and ranges of them, not with {query.selections[0]}"
        raise NotSupported(message, field="key_range")
    first, stop = (key.encode() for key in query.key_range)
    if max(len(first), len(stop)) > LONGEST_KEY:
        raise BadValue(f"no row key is longer than {LONGEST_KEY} bytes", field="key_range")
    return first, stop


def _check_layout(plan: Plan) -> None:
    query, table = plan.query, plan.table
    if query.layout != "nested":
        return
    if not table.by_object:
        message = f"the rows of {table.name} are not kept by object: layout nested is for tables that are"
        raise NotSupported(message, field="layout", value=query.layout)
    if query.cutouts:
        raise NotSupported("layout nested has no place for cutouts: leave one of them out", field="layout", value=query.layout)
    if all(column.name == plan.object_id.name for column in plan.columns):
        message = f"a light curve needs columns: name some besides {plan.object_id.name}"
        raise BadValue(message, field="columns", value=plan.object_id.name)


def typed_ids(ids: Sequence[str | int], kind: pa.DataType | None) -> Sequence[str | int]:
    """Give IDs as the table types them.

    Raises
    ------
    BadValue
        Names one that is of the other kind.
    """
    if kind is not None and pa.types.is_integer(kind):
        return [_integer(value) for value in ids]
    if set(map(type, ids)) <= {str}:
        return ids
    value = next(value for value in ids if isinstance(value, int))
    raise BadValue(f"the IDs of this table are texts, not {value}", field="ids", value=value)


def _integer(value: str | int) -> int:
    if not isinstance(value, int) and not re.fullmatch(r"\d{1,19}", value):
        raise BadValue(f"the IDs of this table are integers, not {value!r:.60}", field="ids", value=value)
    return int(value)


def _columns(query: Query, table: Table, catalog: Catalog) -> tuple[tuple[Column, ...], Mapping[str, DerivedColumn]]:
    """Give the columns of the answer, and which of them are derived."""
    names = query.columns
    derived = {name: _derived(query, table, catalog, name) for name in names or () if name.startswith(DERIVED)}
    if not query.upper_limits and not derived:
        return catalog.columns(table, names), {}
    tag = _tag(table, catalog) if query.upper_limits else None
    if names is None:
        columns = catalog.columns(table, None)
    else:
        made = {name: column.column for name, column in derived.items()} | ({tag.name: tag} if tag else {})
        columns = tuple(made[name] if name in made else catalog.column(table, name) for name in names)
    return (*columns, tag) if tag and tag not in columns else columns, derived


def _derived(query: Query, table: Table, catalog: Catalog, name: str) -> DerivedColumn:
    column = find_derived(name, load_derived(table.survey))
    refused = refusal(column, table, catalog.stored_columns(table), query.selections)
    if refused is not None:
        raise refused
    return column


def _tag(table: Table, catalog: Catalog) -> Column:
    if table.upper_limits is None:
        having = ", ".join(name for name, other in catalog.tables.items() if other.upper_limits)
        raise NotSupported(f"{table.name} has no upper limits besides; {having} has", field="upper_limits", value=True)
    return catalog.known[table.survey][table.upper_limits.tag]


def _cutouts(query: Query, table: Table, catalog: Catalog) -> tuple[Column, ...]:
    if not query.cutouts:
        return ()
    if table.cutouts is None:
        having = ", ".join(name for name, other in catalog.tables.items() if other.cutouts)
        raise NotSupported(f"{table.name} has no cutouts; {having} has", field="cutouts", value=query.cutouts[0])
    return catalog.stamp_columns(table, query.cutouts, query.cutout_format)


def _bounds(query: Query, table: Table, catalog: Catalog) -> tuple[float | None, float | None]:
    if table.time is None:
        for name, value in (("start", query.start), ("stop", query.stop)):
            if value is not None:
                raise NotSupported(f"{table.name} has no time that {name} could bound", field=name, value=value)
        return None, None
    scale = catalog.known[table.survey][table.time].time_scale
    start, stop = (
        None if value is None else to_table_time(name, value, table.time_format, scale)
        for name, value in (("start", query.start), ("stop", query.stop))
    )
    if start is not None and stop is not None and start > stop:
        raise BadValue(f"start {query.start} is after stop {query.stop}", field="start", value=query.start)
    return start, stop


def _added(query: Query, table: Table, catalog: Catalog) -> tuple[tuple[Table, str], ...]:
    if not query.upper_limits or table.upper_limits is None:
        return ()
    return tuple((catalog.table(name), tag) for name, tag in table.upper_limits.add.items())


def _check_versions(plan: Plan, as_of: int) -> None:
    """Refuse a bound on the time of writing where a row does not stay when it is written again."""
    for table in plan.tables:
        if table.on_equal_key == "overwrite":
            message = f"the rows of {table.name} are overwritten, so that none is there as it was before: leave out as_of"
            raise NotSupported(message, field="as_of", value=as_of)
