"""From a query to a plan: what the catalogue makes of it, decided before the first byte."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from flight_server.catalogue import Catalogue, Column, schema_of
from flight_server.cursors import Place, read_cursor
from flight_server.declarations import Table
from flight_server.errors import BadValue, NotSupported
from flight_server.tickets import Query
from flight_server.times import to_table_time

__all__ = ["Plan", "endpoint_queries", "make_plan"]

ENDPOINT_OBJECTS = 1000


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
    columns
        The columns of the answer in order, but for the cutouts.
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
    """

    query: Query
    table: Table
    ids: tuple[str | int, ...] | None
    columns: tuple[Column, ...]
    cutouts: tuple[Column, ...]
    start: float | None
    stop: float | None
    added: tuple[tuple[Table, str], ...]
    stamps: Table | None
    after: Place | None

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every batch of the answer."""
        return schema_of(self.columns + self.cutouts if self.cutouts else self.columns)

    @property
    def tables(self) -> Iterator[Table]:
        """All tables that are read."""
        yield self.table
        yield from (table for table, _ in self.added)
        if self.stamps is not None:
            yield self.stamps

    @property
    def most(self) -> int | None:
        """The most rows that are sent: what the limit leaves behind the cursor."""
        if self.query.limit is None or self.after is None:
            return self.query.limit
        return max(0, self.query.limit - self.after.sent)


def make_plan(query: Query, catalogue: Catalogue) -> Plan:
    """Check a query against the catalogue.

    Raises
    ------
    UnknownTable, UnknownColumn, BadValue, NotSupported, CursorMismatch
        Each names what is at fault.
    """
    table = catalogue.table(query.table)
    start, stop = _bounds(query, table, catalogue)
    ids = None if query.ids is None else tuple(dict.fromkeys(_ids(query.ids, catalogue.type_of(table, table.id))))
    after = query.resume_after
    plan = Plan(
        query=query,
        table=table,
        ids=ids,
        columns=_columns(query, table, catalogue),
        cutouts=_cutouts(query, table, catalogue),
        start=start,
        stop=stop,
        added=_added(query, table, catalogue),
        stamps=catalogue.table(str(table.cutouts)) if query.cutouts else None,
        after=None if after is None else read_cursor(after, query.fingerprint(), 1 if ids is None else len(ids)),
    )
    if query.as_of is not None:
        _check_versions(plan, query.as_of)
    return plan


def endpoint_queries(query: Query) -> Iterator[Query]:
    """Split a query into ones of about a thousand objects; one with a limit or a cursor stays whole."""
    if query.ids is None or query.limit is not None or query.resume_after is not None:
        yield query
        return
    for first in range(0, len(query.ids), ENDPOINT_OBJECTS):
        yield replace(query, ids=query.ids[first : first + ENDPOINT_OBJECTS])


def _ids(ids: tuple[str | int, ...], kind: pa.DataType | None) -> Iterator[str | int]:
    for value in ids:
        if kind is not None and pa.types.is_integer(kind):
            if not isinstance(value, int) and not re.fullmatch(r"\d{1,19}", value):
                raise BadValue(f"the IDs of this table are integers, not {value!r:.60}", field="ids", value=value)
            yield int(value)
        elif isinstance(value, int):
            raise BadValue(f"the IDs of this table are texts, not {value}", field="ids", value=value)
        else:
            yield value


def _columns(query: Query, table: Table, catalogue: Catalogue) -> tuple[Column, ...]:
    if not query.upper_limits:
        return catalogue.columns(table, query.columns)
    tag = _tag(table, catalogue)
    names = query.columns
    if names is not None and tag.name in names:
        return tuple(tag if name == tag.name else catalogue.column(table, name) for name in names)
    return (*catalogue.columns(table, names), tag)


def _tag(table: Table, catalogue: Catalogue) -> Column:
    if table.upper_limits is None:
        having = ", ".join(name for name, other in catalogue.tables.items() if other.upper_limits)
        raise NotSupported(f"{table.name} has no upper limits besides; {having} has", field="upper_limits", value=True)
    return catalogue.known[table.survey][table.upper_limits.tag]


def _cutouts(query: Query, table: Table, catalogue: Catalogue) -> tuple[Column, ...]:
    if not query.cutouts:
        return ()
    if table.cutouts is None:
        having = ", ".join(name for name, other in catalogue.tables.items() if other.cutouts)
        raise NotSupported(f"{table.name} has no cutouts; {having} has", field="cutouts", value=query.cutouts[0])
    return catalogue.stamp_columns(table, query.cutouts, query.cutout_format)


def _bounds(query: Query, table: Table, catalogue: Catalogue) -> tuple[float | None, float | None]:
    scale = catalogue.known[table.survey][table.time].time_scale
    start, stop = (
        None if value is None else to_table_time(name, value, table.time_format, scale)
        for name, value in (("start", query.start), ("stop", query.stop))
    )
    if start is not None and stop is not None and start > stop:
        raise BadValue(f"start {query.start} is after stop {query.stop}", field="start", value=query.start)
    return start, stop


def _added(query: Query, table: Table, catalogue: Catalogue) -> tuple[tuple[Table, str], ...]:
    if not query.upper_limits or table.upper_limits is None:
        return ()
    return tuple((catalogue.table(name), tag) for name, tag in table.upper_limits.add.items())


def _check_versions(plan: Plan, as_of: int) -> None:
    """Refuse a bound on the time of writing where a row does not stay when it is written again."""
    for table in plan.tables:
        if table.on_equal_key == "overwrite":
            message = f"the rows of {table.name} are overwritten, so that none is there as it was before: leave out as_of"
            raise NotSupported(message, field="as_of", value=as_of)
