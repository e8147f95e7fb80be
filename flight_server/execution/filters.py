"""Stages that drop rows: before a cursor, outside of time bounds, with another value, over a limit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from flight_server.execution.completeness import CompletenessCounter
from flight_server.planning.cursors import Place
from flight_server.planning.plan import Plan
from flight_server.storage.row_keys import object_key
from flight_server.storage.scans import Rows

__all__ = ["after_place", "equal_to", "limit_objects", "limit_rows", "within_bounds"]


def within_bounds(rows: Iterator[Rows], plan: Plan) -> Iterator[Rows]:
    """Drop rows outside of the plan's time bounds."""
    for some in rows:
        times = some.batch[plan.table.time].to_numpy(zero_copy_only=False)
        mask = np.ones(len(times), dtype=bool)
        if plan.start is not None:
            mask &= times >= plan.start
        if plan.stop is not None:
            mask &= times < plan.stop
        if mask.all():
            yield some
        elif mask.any():
            yield some.filter(mask)


def equal_to(rows: Iterator[Rows], column: str, value: str) -> Iterator[Rows]:
    """Keep the rows whose cell has this value."""
    for some in rows:
        mask = pc.fill_null(pc.equal(some.batch[column], value), fill_value=False)
        if mask.true_count == len(mask):
            yield some
        elif mask.true_count:
            yield some.filter(mask.to_numpy(zero_copy_only=False))


def after_place(rows: Iterator[Rows], place: Place) -> Iterator[Rows]:
    """Drop rows up to a place; rows begin with the object of the place, whose request index is 0 here."""
    reached = False
    for some in rows:
        before = 0 if reached else _rows_before(some, place)
        if before < len(some):
            reached = True
            left = some.slice(before, len(some) - before) if before else some
            yield Rows(left.batch, left.request_index + place.request_index, left.keys)


def limit_rows(rows: Iterator[Rows], limit: int, counter: CompletenessCounter) -> Iterator[Rows]:
    """Stop after `limit` rows; mark the answer incomplete if more rows follow."""
    left = limit
    for some in rows:
        if len(some) <= left:
            left -= len(some)
            yield some
            continue
        counter.complete = False
        if left:
            yield some.slice(0, left)
        return


def limit_objects(rows: Iterator[Rows], plan: Plan, limit: int, counter: CompletenessCounter) -> Iterator[Rows]:
    """Stop before the first row of the object over the limit, and mark the answer incomplete."""
    column, after = plan.table.id, plan.after
    seen: set[object] = set()
    limit -= 0 if after is None else after.objects
    for some in rows:
        if after is not None:
            # the object that the cursor is in was counted already
            begun = object_key(plan.table, bytes(some.keys[0])) == object_key(plan.table, after.key)
            limit += bool(after.objects) and begun
            after = None
        fresh = [value for value in some.batch[column].dictionary_encode().dictionary.to_pylist() if value not in seen]
        if len(seen) + len(fresh) <= limit:
            seen.update(fresh)
            yield some
            continue
        first = fresh[limit - len(seen)]  # the dictionary is in the order of first occurrence
        counter.complete = False
        if end := pc.index(some.batch[column], first).as_py():
            yield some.slice(0, end)
        return


def _rows_before(rows: Rows, place: Place) -> int:
    """Count the rows before a place; they are the first ones, since rows are in the order of the answer."""
    own = rows.request_index == 0
    found = np.flatnonzero(own & (rows.keys == place.key))
    if len(found):
        return int(found[0]) + min(place.same, len(found))
    return int(np.count_nonzero(own & (rows.keys < place.key)))
