"""The rows that a plan selects: of its tables, within its bounds, behind its cursor, up to its limit.

Rows of zero rows pass through all of this as they are: a store gives them to say that it is still at work.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.catalog import Column
from flight_server.execution.completeness import CompletenessCounter
from flight_server.execution.derived_columns import Deriving
from flight_server.execution.light_curves import with_upper_limits
from flight_server.execution.newest_first import newest_first
from flight_server.execution.reader import Reading
from flight_server.planning.cursors import Place, lost_place
from flight_server.planning.plan import Plan
from flight_server.storage.keys import key_expression
from flight_server.storage.protocols import NOTHING_YET, Rows, Span, part

__all__ = ["earlier", "limited", "limited_to_objects", "selected"]

PULSE_SECONDS = 5.0  # how long a client hears nothing while rows are read that are out of its bounds


def selected(reading: Reading, columns: tuple[Column, ...], deriving: Deriving | None = None) -> Iterator[Rows]:
    """Read the rows of all tables that the plan names, within its bounds and behind its cursor, derived columns beside."""
    plan, after = reading.plan, reading.plan.after
    # what is derived of an object's rows does not depend on which of them are wanted
    whole = plan.added or (deriving is not None and deriving.over_objects)
    if plan.added:
        rows = with_upper_limits(reading, columns)
    elif reading.rows is not None:
        rows = iter((reading.rows,))
    elif reading.keys is not None:
        rows = reading.scan(plan.table, columns, keys=reading.keys)
    elif plan.choice.spans is not None:
        rows = _of_spans(reading, plan.choice.spans, columns)
    else:
        begin = after.key if after is not None and plan.ids is None else None
        if begin is not None and whole:
            begin = key_expression(plan.table.key).first_part(begin)
        rows = reading.scan(plan.table, columns, ids=reading.ids, after=begin)
    if deriving is not None:
        rows = deriving.beside(rows)
    if after is not None and (plan.ids is not None or (whole and plan.choice.spans is None and reading.keys is None)):
        rows = _behind(rows, after)
    return rows if plan.start is None and plan.stop is None else _within(rows, plan)


def earlier(reading: Reading, columns: tuple[Column, ...]) -> Iterator[Rows]:
    """Read a little of all rows of the objects before the cursor's, to tell which of them have any.

    Parameters
    ----------
    reading
        A plan with IDs and a cursor.
    columns
        What to read of a row; the time if the plan has bounds on it.
    """
    plan = reading.plan
    if plan.ids is None or plan.after is None or not plan.after.request_index:
        return
    for table in (plan.table, *(table for table, _ in plan.added)):
        rows = reading.scan(table, columns, ids=plan.ids[: plan.after.request_index])
        yield from rows if plan.start is None and plan.stop is None else _within(rows, plan)


def limited(rows: Iterator[Rows], limit: int | None, tally: CompletenessCounter) -> Iterator[Rows]:
    """Stop after `limit` rows, and note whether that left any behind."""
    left = limit
    for some in rows:
        if left is None or len(some.batch) <= left:
            left = None if left is None else left - len(some.batch)
            yield some
            continue
        tally.complete = False
        if left:
            yield part(some, 0, left)
        return


def limited_to_objects(rows: Iterator[Rows], plan: Plan, limit: int, tally: CompletenessCounter) -> Iterator[Rows]:
    """Stop in front of the first row of one object too many, and note that rows were left behind."""
    column, after = plan.table.id, plan.after
    object_of = key_expression(plan.table.key).first_part
    seen: set[object] = set()
    limit -= 0 if after is None else after.objects
    for some in rows:
        if after is not None and len(some.batch):
            # an object that was begun counts once
            limit += bool(after.objects) and object_of(bytes(some.keys[0])) == object_of(after.key)
            after = None
        ids = some.batch[column].dictionary_encode() if len(some.batch) else None
        fresh = [] if ids is None else [value for value in ids.dictionary.to_pylist() if value not in seen]
        if ids is None or len(seen) + len(fresh) <= limit:
            seen.update(fresh)
            yield some
            continue
        first = fresh[limit - len(seen)]  # values stand in the dictionary in the order in which they come
        tally.complete = False
        if end := pc.index(some.batch[column], first).as_py():
            yield part(some, 0, end)
        return


def _within(rows: Iterator[Rows], plan: Plan) -> Iterator[Rows]:
    heard = time.monotonic()
    for some in rows:
        if not len(some.batch):
            yield some
            heard = time.monotonic()
            continue
        times = some.batch[plan.table.time].to_numpy(zero_copy_only=False)
        mask = np.ones(len(times), dtype=bool)
        if plan.start is not None:
            mask &= times >= plan.start
        if plan.stop is not None:
            mask &= times < plan.stop
        if mask.all():
            yield some
        elif mask.any():
            yield Rows(some.batch.filter(pa.array(mask)), some.request_index[mask], some.keys[mask])
        elif time.monotonic() - heard >= PULSE_SECONDS:
            yield NOTHING_YET
        else:
            continue
        heard = time.monotonic()


def _of_spans(reading: Reading, spans: tuple[Span, ...], columns: tuple[Column, ...]) -> Iterator[Rows]:
    """Read the rows of spans in the order of the answer, behind the plan's cursor."""
    plan, after = reading.plan, reading.plan.after
    time = plan.table.time if plan.choice.newest else None
    if time is None or after is None:
        rows = reading.scan(
            plan.table, columns, spans=spans, reverse=time is not None, after=None if after is None else after.key
        )
    else:
        reached = _time_of(reading, next(column for column in columns if column.name == time), after.key)
        spans = tuple(replace(span, stop=min(np.inf if span.stop is None else span.stop, _next(reached))) for span in spans)
        rows = reading.scan(plan.table, columns, spans=spans, reverse=True)
    if plan.choice.exact is not None:
        rows = _equal(rows, *plan.choice.exact)
    if time is None:
        return rows
    rows = newest_first(rows, time)
    return rows if after is None else _later_than(rows, time, reached, after.key)


def _time_of(reading: Reading, column: Column, key: bytes) -> float:
    """Find the time of the row that a cursor names.

    Raises
    ------
    CursorMismatch
        It is no longer there.
    """
    for rows in reading.scan(reading.plan.table, (column,), keys=np.array([key])):
        for value in rows.batch[0].to_pylist() if len(rows.batch) else ():
            return float(value)
    raise lost_place()


def _next(value: float) -> float:
    return float(np.nextafter(value, np.inf))


def _later_than(rows: Iterator[Rows], time: str, reached: float, key: bytes) -> Iterator[Rows]:
    """Leave out rows in front of and at a place, of rows by descending time and ascending keys within."""
    for some in rows:
        if not len(some.batch):
            yield some
            continue
        times = some.batch[time].to_numpy(zero_copy_only=False)
        before = int(np.count_nonzero((times > reached) | ((times == reached) & (some.keys <= key))))
        if before < len(times):
            yield part(some, before, len(times) - before) if before else some


def _equal(rows: Iterator[Rows], column: str, value: str) -> Iterator[Rows]:
    """Leave out rows whose cell has another value."""
    for some in rows:
        mask = pc.fill_null(pc.equal(some.batch[column], value), fill_value=False) if len(some.batch) else None
        if mask is None or mask.true_count == len(mask):
            yield some
        elif mask.true_count:
            chosen = mask.to_numpy(zero_copy_only=False)
            yield Rows(some.batch.filter(mask), some.request_index[chosen], some.keys[chosen])


def _behind(rows: Iterator[Rows], place: Place) -> Iterator[Rows]:
    """Leave out what stands before a place, of rows that begin with the place's object, whose index is 0 in them."""
    reached = False
    for some in rows:
        if not len(some.batch):
            yield some
            continue
        before = 0 if reached else _before(some, place)
        if before < len(some.batch):
            reached = True
            left = part(some, before, len(some.batch) - before) if before else some
            yield Rows(left.batch, left.request_index + place.request_index, left.keys)


def _before(rows: Rows, place: Place) -> int:
    """Count the rows in front of a place; they are the first ones, since rows come in the answer's order."""
    own = rows.request_index == 0
    found = np.flatnonzero(own & (rows.keys == place.key))
    if len(found):
        return int(found[0]) + min(place.same, len(found))
    return int(np.count_nonzero(own & (rows.keys < place.key)))
