"""The row pipeline: scan, derive, skip to the cursor, bound, limit, nest, count, attach cutouts.

A stage is a function from an iterator of `Rows` to an iterator of `Rows`. `Pipeline.stages` has the stages of a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Projection
from flight_server.execution.completeness import CompletenessCounter
from flight_server.execution.cutout_columns import CutoutLimits, attach_cutouts
from flight_server.execution.derived_columns import derive_columns
from flight_server.execution.filters import after_place, limit_objects, limit_rows, within_bounds
from flight_server.execution.nested_layout import nest, points_of
from flight_server.execution.objects import Objects
from flight_server.execution.reader import PlanReader
from flight_server.execution.scans import OBJECTS_TOGETHER, reads_whole_objects, scan_plan
from flight_server.execution.sky_search import find_objects, find_rows
from flight_server.planning.plan import Plan
from flight_server.storage.protocols import CutoutStore
from flight_server.storage.scans import Rows

__all__ = ["Pipeline"]

Stage: TypeAlias = Callable[[Iterator[Rows]], Iterator[Rows]]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Reader of the rows of answers; stateless.

    Parameters
    ----------
    catalog, cutouts, limits
        The columns, the store of cutouts, and the limits on cutouts.
    """

    catalog: Catalog
    cutouts: CutoutStore
    limits: CutoutLimits

    def locate(self, reader: PlanReader) -> PlanReader:
        """Return a reader of the objects or rows that the plan selects by ID or position.

        Raises
        ------
        CursorMismatch
            Other rows or objects are found in the plan's sky region now than when its cursor was made.
        """
        plan, index = reader.plan, reader.plan.selection.index
        if index is None:
            if plan.ids is None:
                return reader
            # every lookup of an object comes by here, and `replace` takes three times as long
            return PlanReader(plan, reader.view, reader.deadline, Objects(plan.ids, plan.after))
        if index is plan.table:
            found = find_rows(reader, index, self.catalog, plan.shape.read)
            return replace(reader, rows=found.rows, mark=found.mark)
        return replace(reader, objects=find_objects(reader, index, self.catalog))

    def rows(self, reader: PlanReader, counter: CompletenessCounter) -> Iterator[Rows]:
        """Read the rows of an answer, in its schema, and count them."""
        rows = scan_plan(reader)
        for stage in self.stages(reader, counter):
            rows = stage(rows)
        return rows

    def stages(self, reader: PlanReader, counter: CompletenessCounter) -> Iterator[Stage]:
        """Yield the stages of a plan after the scan, in order."""
        plan, shape, query = reader.plan, reader.plan.shape, reader.plan.query
        if shape.derived:
            yield partial(derive_columns, plan=plan)
        if plan.after is not None and _begins_too_early(reader):
            yield partial(after_place, place=plan.after)
        if plan.is_bounded:
            yield partial(within_bounds, plan=plan)
        if query.limit_objects is not None:
            yield partial(limit_objects, plan=plan, limit=query.limit_objects, counter=counter)
        if shape.nested:
            yield partial(nest, schema=shape.schema, ids=None if reader.objects is None else reader.objects.ids)
        if plan.max_rows is not None:
            yield partial(limit_rows, limit=plan.max_rows, counter=counter)
        yield partial(_count, plan=plan, counter=counter)
        if plan.cutout_table is not None:
            yield partial(
                attach_cutouts,
                reader=reader,
                catalog=self.catalog,
                store=self.cutouts,
                limits=self.limits,
                counts=counter.cutouts,
            )
        elif not shape.nested and shape.read is not shape.columns:
            yield partial(_select_columns, schema=shape.schema)

    def mark_earlier(self, reader: PlanReader, counter: CompletenessCounter) -> None:
        """Mark the objects before the cursor's that have rows, so that the record does not list them as missing."""
        plan, objects = reader.plan, reader.objects
        if objects is None or plan.after is None:
            return
        counter.mark_present(plan.after.request_index)
        name = plan.table.time if plan.is_bounded and plan.table.time is not None else plan.table.id
        columns = Projection([self.catalog.known[plan.table.survey][name]])
        for first in range(0, plan.after.request_index, OBJECTS_TOGETHER):
            ids = objects.ids[first : min(first + OBJECTS_TOGETHER, plan.after.request_index)]
            for table in (plan.table, *plan.added):
                rows = reader.scan(table, columns, ids=ids)
                for some in within_bounds(rows, plan) if plan.is_bounded else rows:
                    reader.deadline.check()
                    counter.mark_present(some.request_index + first)


def _begins_too_early(reader: PlanReader) -> bool:
    """Return whether the scan begins at the cursor's object instead of after its row."""
    plan = reader.plan
    by_place = plan.selection.spans is not None or reader.rows is not None
    return reader.objects is not None or (reads_whole_objects(reader) and not by_place)


def _count(rows: Iterator[Rows], plan: Plan, counter: CompletenessCounter) -> Iterator[Rows]:
    for some in rows:
        counter.count(some, some.batch[plan.table.id] if counter.ids is None else None)
        if plan.shape.nested:
            counter.points = (counter.points or 0) + points_of(some.batch)
        yield some


def _select_columns(rows: Iterator[Rows], schema: pa.Schema) -> Iterator[Rows]:
    """Drop the columns that only the stages needed."""
    for some in rows:
        cells = [some.batch[name] for name in schema.names]
        yield replace(some, batch=pa.RecordBatch.from_arrays(cells, schema=schema))
