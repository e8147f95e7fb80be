"""The way of rows through one answer: found, selected, derived, nested, limited, counted, stamps beside them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace

import pyarrow as pa

from flight_server.catalog.catalog import Catalog, Column
from flight_server.execution.completeness import CompletenessCounter
from flight_server.execution.cutout_columns import Stamping
from flight_server.execution.derived_columns import Deriving
from flight_server.execution.nested_layout import nested, points_of
from flight_server.execution.reader import Reading
from flight_server.execution.selection import earlier, limited, limited_to_objects, selected
from flight_server.execution.sky_search import find
from flight_server.planning.plan import Plan
from flight_server.settings import Settings
from flight_server.storage.protocols import CutoutStore, Rows

__all__ = ["Answering"]

KEPT_SELECTIONS = 256


class Answering:
    """Reads the rows of answers; it keeps nothing of any of them.

    Parameters
    ----------
    catalog, cutouts, settings
        What the archive has.
    """

    def __init__(self, catalog: Catalog, cutouts: CutoutStore, settings: Settings) -> None:
        self._catalog = catalog
        self._cutouts = cutouts
        self._settings = settings
        self._columns: dict[tuple[int, ...], tuple[Column, ...]] = {}

    def located(self, reading: Reading) -> Generator[Rows, None, Reading]:
        """Find what lies in the plan's part of the sky, if it asks for one; gives a reading of just that.

        Meanwhile it gives what the store gives while it waits.
        """
        index = reading.plan.choice.index
        if index is None:
            return reading
        own = index is reading.plan.table
        found = yield from find(reading, index, self._catalog, self._work_columns(reading.plan) if own else None)
        plan = reading.plan
        if own:
            found = found.behind(plan.after)
            return replace(reading, keys=found.keys, rows=found.rows)
        return replace(reading, plan=replace(plan, ids=found.objects, after=found.placed(plan.after, plan.table)))

    def rows_of(self, reading: Reading, schema: pa.Schema, tally: CompletenessCounter) -> Iterator[Rows]:
        """Read the rows of an answer, in its schema, and count them."""
        plan = reading.plan
        columns = self._work_columns(plan)
        rows = selected(reading, columns, _deriving(plan))
        if plan.query.limit_objects is not None:
            rows = limited_to_objects(rows, plan, plan.query.limit_objects, tally)
        if plan.query.layout == "nested":
            return _counted(limited(nested(rows, schema, plan.ids), plan.most, tally), plan, tally)
        rows = _counted(limited(rows, plan.most, tally), plan, tally)
        if plan.stamps is not None:
            return Stamping(reading, self._catalog, self._cutouts, self._settings, tally).stamped(rows, plan.stamps)
        return rows if columns is plan.columns else _shaped(rows, schema)

    def know_earlier(self, reading: Reading, tally: CompletenessCounter) -> Iterator[Rows]:
        """Find which objects before the cursor's have rows, since no record has said it; gives the rows of zero rows."""
        plan = reading.plan
        if plan.ids is None or plan.after is None:
            return
        tally.know(plan.after.request_index)
        bounded = plan.start is not None or plan.stop is not None
        time = plan.table.time if bounded else None
        column = self._catalog.known[plan.table.survey][time or plan.table.id]
        for some in earlier(reading, (column,)):
            reading.deadline.check()
            if len(some.batch):
                tally.know(some.request_index)
            else:
                yield some

    def _work_columns(self, plan: Plan) -> tuple[Column, ...]:
        """Give the columns to read: those asked for, and those that the work needs."""
        needed = []
        bounded = plan.start is not None or plan.stop is not None or plan.added or plan.choice.newest
        if bounded and plan.table.time is not None:
            needed.append(plan.table.time)
        if plan.choice.exact is not None:
            needed.append(plan.choice.exact[0])
        # stamps alone stand beside rows too
        if plan.ids is None or not plan.columns or plan.derived or plan.query.limit_objects is not None:
            needed.append(plan.table.id)
        stored = self._catalog.stored_columns(plan.table)
        for column in plan.derived.values():
            needed += column.reads(stored)
        # light curves have the ID that they were asked by
        left_out = plan.table.id if plan.query.layout == "nested" and plan.ids is not None else None
        if not needed and left_out is None:
            return plan.columns
        columns = [column for column in plan.columns if column.name not in plan.derived and column.name != left_out]
        asked = {column.name for column in columns}
        known = self._catalog.described(plan.table)
        further = tuple(known[name] for name in dict.fromkeys(needed) if name not in asked)
        if not further and not plan.derived and left_out is None:
            return plan.columns
        return self._kept((*columns, *further))

    def _kept(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """Give the same tuple for the same columns, under which schemas and batches of theirs are held ready."""
        if len(self._columns) >= KEPT_SELECTIONS:
            self._columns.clear()
        # by identity, since to hash many columns takes long; the columns are held, so that theirs stay their own
        return self._columns.setdefault(tuple(map(id, columns)), columns)


def _deriving(plan: Plan) -> Deriving | None:
    if not plan.derived:
        return None
    limits, cone = plan.table.upper_limits, plan.query.cone
    own = (limits.tag, limits.own) if plan.added and limits is not None else None
    given = {} if cone is None else {"centre": (cone.ra, cone.dec)}
    return Deriving(plan.derived, plan.table.id, own, given)


def _counted(rows: Iterator[Rows], plan: Plan, tally: CompletenessCounter) -> Iterator[Rows]:
    for some in rows:
        if len(some.batch):
            tally.count(some, some.batch[plan.table.id] if plan.ids is None else None)
            if plan.query.layout == "nested":
                tally.points = (tally.points or 0) + points_of(some.batch)
        yield some


def _shaped(rows: Iterator[Rows], schema: pa.Schema) -> Iterator[Rows]:
    """Bring rows that have more columns than asked for to the answer's schema."""
    for some in rows:
        if not len(some.batch):
            yield some
            continue
        cells = [some.batch[name] for name in schema.names]
        yield replace(some, batch=pa.RecordBatch.from_arrays(cells, schema=schema))
