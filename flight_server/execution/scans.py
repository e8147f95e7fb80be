"""The first stage of the pipeline: scan the rows that a plan selects, in the order of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from flight_server.catalog.columns import Projection
from flight_server.execution.filters import equal_to
from flight_server.execution.leading_rows import leading_first
from flight_server.execution.light_curves import with_added_rows
from flight_server.execution.newest_first import after_row, newest_first
from flight_server.execution.objects import Objects
from flight_server.execution.reader import PlanReader
from flight_server.planning.cursors import lost_place
from flight_server.storage.row_keys import object_key, time_text, whole_day
from flight_server.storage.scans import Rows, Span

__all__ = ["OBJECTS_TOGETHER", "reads_whole_objects", "scan_plan"]

OBJECTS_TOGETHER = 8192  # a store has the keys of all of them in memory, padded to the longest


def reads_whole_objects(reader: PlanReader) -> bool:
    """Return whether the rows before the cursor are read too, because all rows of its object are needed."""
    derived = reader.plan.shape.derived.values()
    return bool(reader.plan.added) or any(column.derivation.over == "object" for column in derived)


def scan_plan(reader: PlanReader) -> Iterator[Rows]:
    """Read the rows of all tables of a plan, in the columns `shape.read`."""
    plan, after, columns = reader.plan, reader.plan.after, reader.plan.shape.read
    if plan.added:
        return with_added_rows(reader, columns)
    if reader.rows is not None:
        return reader.rows
    if reader.objects is not None:
        return _scan_objects(reader, reader.objects, columns)
    if plan.selection.spans is not None:
        return _scan_spans(reader, plan.selection.spans, columns)
    begin = None if after is None else after.key
    if begin is not None and reads_whole_objects(reader):
        begin = object_key(plan.table, begin)
    return reader.scan(plan.table, columns, after=begin)


def _scan_objects(reader: PlanReader, objects: Objects, columns: Projection) -> Iterator[Rows]:
    """Read the rows of objects, from the cursor's object on; the request index counts from there."""
    for first, ids in objects.groups(OBJECTS_TOGETHER):
        reader.deadline.check()  # there may be no rows, at which it is checked too
        for rows in reader.scan(reader.plan.table, columns, ids=ids):
            yield Rows(rows.batch, rows.request_index + first, rows.keys) if first else rows


def _scan_spans(reader: PlanReader, spans: tuple[Span, ...], columns: Projection) -> Iterator[Rows]:
    """Read the rows of spans after the plan's cursor."""
    plan, key = reader.plan, None if reader.plan.after is None else reader.plan.after.key
    if plan.selection.leading is not None:
        return leading_first(reader, spans, plan.selection.leading, columns)
    if not plan.selection.newest or plan.table.time is None:
        rows = reader.scan(plan.table, columns, spans=spans, after=key)
        return rows if plan.selection.exact is None else equal_to(rows, *plan.selection.exact)
    (span,) = spans
    before = None
    if key is not None:
        _check_row(reader, key)
        before = whole_day(plan.table, span, key)
    rows = reader.scan(plan.table, columns, spans=spans, reverse=True, before=before)
    if plan.selection.exact is not None:
        rows = equal_to(rows, *plan.selection.exact)
    rows = newest_first(rows, plan.table.time, partial(time_text, plan.table, span))
    return rows if key is None else after_row(rows, key)


def _check_row(reader: PlanReader, key: bytes) -> None:
    """Check that the row of a cursor is there.

    Raises
    ------
    CursorMismatch
        It is not.
    """
    if not any(len(rows) for rows in reader.scan(reader.plan.table, Projection(), keys=np.array([key]))):
        raise lost_place()
