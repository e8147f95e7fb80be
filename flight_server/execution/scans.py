"""The first stage of the pipeline: scan the rows that a plan selects, in the order of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from flight_server.catalog.columns import Column, Projection
from flight_server.execution.filters import after_time, equal_to
from flight_server.execution.leading_rows import leading_first
from flight_server.execution.light_curves import with_upper_limits
from flight_server.execution.newest_first import newest_first
from flight_server.execution.reader import PlanReader
from flight_server.planning.cursors import lost_place
from flight_server.storage.row_keys import object_key
from flight_server.storage.scans import Rows, Span

__all__ = ["reads_whole_objects", "scan_plan"]


def reads_whole_objects(reader: PlanReader) -> bool:
    """Return whether the rows before the cursor are read too, because all rows of its object are needed."""
    derived = reader.plan.shape.derived.values()
    return bool(reader.plan.added) or any(column.derivation.over == "object" for column in derived)


def scan_plan(reader: PlanReader) -> Iterator[Rows]:
    """Read the rows of all tables of a plan, in the columns `shape.read`."""
    plan, after, columns = reader.plan, reader.plan.after, reader.plan.shape.read
    if plan.added:
        return with_upper_limits(reader, columns)
    if reader.rows is not None:
        return iter((reader.rows,) if len(reader.rows) else ())
    if reader.keys is not None:
        return reader.scan(plan.table, columns, keys=reader.keys)
    if plan.selection.spans is not None:
        return _scan_spans(reader, plan.selection.spans, columns)
    begin = after.key if after is not None and plan.ids is None else None
    if begin is not None and reads_whole_objects(reader):
        begin = object_key(plan.table, begin)
    return reader.scan(plan.table, columns, ids=reader.ids, after=begin)


def _scan_spans(reader: PlanReader, spans: tuple[Span, ...], columns: Projection) -> Iterator[Rows]:
    """Read the rows of spans after the plan's cursor."""
    plan, after = reader.plan, reader.plan.after
    if plan.selection.leading is not None:
        return leading_first(reader, spans, plan.selection.leading, columns)
    time = plan.table.time if plan.selection.newest else None
    reached = 0.0
    if time is None or after is None:
        key = None if after is None else after.key
        rows = reader.scan(plan.table, columns, spans=spans, reverse=time is not None, after=key)
    else:
        reached = _time_of(reader, columns.by_name[time], after.key)
        stop = float(np.nextafter(reached, np.inf))
        spans = tuple(replace(span, stop=stop if span.stop is None else min(span.stop, stop)) for span in spans)
        rows = reader.scan(plan.table, columns, spans=spans, reverse=True)
    if plan.selection.exact is not None:
        rows = equal_to(rows, *plan.selection.exact)
    if time is None:
        return rows
    rows = newest_first(rows, time)
    return rows if after is None else after_time(rows, time, reached, after.key)


def _time_of(reader: PlanReader, column: Column, key: bytes) -> float:
    """Return the time of the row of a cursor.

    Raises
    ------
    CursorMismatch
        The row is no longer there.
    """
    for rows in reader.scan(reader.plan.table, Projection([column]), keys=np.array([key])):
        for value in rows.batch[0].to_pylist():
            return float(value)
    raise lost_place()
