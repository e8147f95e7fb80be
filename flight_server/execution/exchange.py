"""Answers to IDs, or places in the sky, that keep coming: all against one view of the store, in the order they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.execution.completeness import CompletenessCounter, CutoutCounts
from flight_server.execution.messages import Message, MessageWriter
from flight_server.execution.pipeline import Pipeline
from flight_server.execution.reader import PlanReader
from flight_server.planning.ids import typed_ids
from flight_server.planning.plan import Plan
from flight_server.protocol.callers import Caller
from flight_server.protocol.completeness import CompletenessRecord
from flight_server.protocol.deadlines import Deadline
from flight_server.protocol.errors import BadValue
from flight_server.protocol.query import Cone, Query
from flight_server.protocol.ticket_values import cone_of
from flight_server.storage.protocols import RowView
from flight_server.storage.scans import Rows

__all__ = ["INDEX", "Exchange", "placeholder_query"]

INDEX = "index"
CHUNK = 1000  # objects that are read together
CONE = ("ra", "dec", "radius")


def placeholder_query(query: Query, sent: pa.Schema, catalog: Catalog) -> Query:
    """Return the query with some object, or cone, in the place of those that will be asked for in these columns.

    Raises
    ------
    BadValue
        The columns are others.
    """
    names = tuple(sent.names)
    if names == ("id",):
        kind = sent.field("id").type
        if not any(holds(kind) for holds in (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer)):
            raise BadValue(f"the column id must be of texts or integers, not {kind}", field="id", value=kind)
        table = catalog.table(query.table)
        wanted = catalog.type_of(table, table.id)
        return replace(query, ids=(0 if wanted is not None and pa.types.is_integer(wanted) else "none",))
    if sorted(names) == sorted(CONE):
        for name in names:
            if not pa.types.is_floating(sent.field(name).type) and not pa.types.is_integer(sent.field(name).type):
                raise BadValue(f"the column {name} must be of numbers, not {sent.field(name).type}", field=name)
        return replace(query, cone=Cone(0.0, 0.0, 0.0))
    message = f"what is sent has a column id, or ra, dec and radius; this has {', '.join(names)[:80] or 'none'}"
    raise BadValue(message, field="columns", value=",".join(names))


@dataclass(slots=True)
class _Totals:
    """What all answers so far add up to."""

    asked: int = 0
    rows: int = 0
    objects: int = 0
    points: int | None = None
    missing: int = 0
    missing_ids: dict[str | int, None] = field(default_factory=dict)
    cutouts: CutoutCounts = field(default_factory=CutoutCounts)

    def add(self, counter: CompletenessCounter, *, one: bool) -> None:
        """Add the answer to some IDs, or, if `one`, to one cone."""
        found = int(counter.rows > 0) if one else counter.objects
        self.rows += counter.rows
        self.objects += found
        self.missing += (1 if one else len(counter.ids or ())) - found
        if not one:
            self.missing_ids |= dict.fromkeys(counter.missing())
        if self.points is not None:
            self.points += counter.points or 0
        self.cutouts.add(counter.cutouts)


class Exchange:
    """Answers what is asked piece by piece.

    Parameters
    ----------
    plan
        The query, checked, with any object in the place of those that will be asked for.
    view
        The store as it is when the exchange begins.
    pipeline
        Reads the rows.
    caller, seconds
        Who asks, and how long the answer to one piece may take.
    """

    def __init__(self, plan: Plan, view: RowView, pipeline: Pipeline, caller: Caller, seconds: float) -> None:
        self._plan = plan
        self._view = view
        self._pipeline = pipeline
        self._caller = caller
        self._seconds = seconds
        fields = [pa.field(INDEX, pa.int64(), metadata={"description": "Which row of what was sent this answers, from 0"})]
        self.schema = pa.schema([*fields, *plan.schema])
        self.query = plan.query
        self._writer = MessageWriter(plan.query, self.schema)
        self._totals = _Totals(points=0 if plan.shape.nested else None)

    def answer(self, asked: pa.RecordBatch) -> Iterator[Message]:
        """Answer some rows of what was sent, columns `id`, or `ra`, `dec` and `radius`; each of them, repeated or not.

        Raises
        ------
        BadValue
            A row asks for nothing that can be; names it.
        """
        # each chunk has a deadline of its own, all of them together have none
        no_end = Deadline(cancelled=self._caller.cancelled)
        # the last row answered may have rows yet to come
        yield from self._writer.data(self._rows(asked), no_end, lambda rows: {"answered": int(rows.batch[0][-1].as_py())})
        self._totals.asked += len(asked)

    def end(self) -> Iterator[Message]:
        """Yield the messages that say what all answers were."""
        totals, query = self._totals, self._plan.query
        counts = {"asked": totals.asked, "missing": totals.missing}
        record = CompletenessRecord(
            complete=True,
            rows=totals.rows,
            objects=totals.objects,
            points=totals.points,
            missing_ids=tuple(totals.missing_ids),
            as_of=self._view.as_of if query.as_of is None else query.as_of,
            further=counts | self._writer.digest(),
            **totals.cutouts.of_record(),
        )
        yield from self._writer.record(record)

    def _rows(self, asked: pa.RecordBatch) -> Iterator[Rows]:
        """Read the rows of all that is asked."""
        if "id" in asked.schema.names:
            for first, ids in _chunks(typed_ids(_values(asked, "id"), self._plan.shape.object_id.type)):
                yield from self._numbered(self._reader(replace(self._plan, ids=ids)), first, one=False)
        else:
            for number, values in enumerate(zip(*(_values(asked, name) for name in CONE), strict=True)):
                cone = cone_of(dict(zip(CONE, values, strict=True)))
                plan = replace(self._plan, query=replace(self._plan.query, cone=cone))
                yield from self._numbered(self._pipeline.locate(self._reader(plan)), number, one=True)

    def _reader(self, plan: Plan) -> PlanReader:
        return PlanReader(plan, self._view, Deadline.of(self._caller, self._seconds))

    def _numbered(self, reader: PlanReader, first: int, *, one: bool) -> Iterator[Rows]:
        """Read rows, and put in front of each the number of the row sent that asked for it."""
        counter = CompletenessCounter(reader.plan.ids)
        begin = self._totals.asked + first
        for rows in self._pipeline.rows(reader, counter):
            reader.deadline.check()
            index = np.full(len(rows), begin) if one else rows.request_index + begin
            batch = pa.RecordBatch.from_arrays([pa.array(index), *rows.batch.columns], schema=self.schema)
            yield Rows(batch, index, rows.keys)
        self._totals.add(counter, one=one)


def _values(asked: pa.RecordBatch, name: str) -> list[Any]:
    column = asked[name]
    if column.null_count:
        row = next(number for number, there in enumerate(column.is_valid().to_pylist()) if not there)
        raise BadValue(f"the column {name} of what was sent has no value in row {row} of its batch", field=name)
    return list(column.to_pylist())


def _chunks(ids: Sequence[str | int]) -> Iterator[tuple[int, tuple[str | int, ...]]]:
    """Cut IDs into runs in which none stands twice, each with the place where it begins.

    >>> list(_chunks(("a", "b", "a")))
    [(0, ('a', 'b')), (2, ('a',))]
    """
    chunk: dict[str | int, None] = {}
    first = 0
    for place, value in enumerate(ids):
        if value in chunk or len(chunk) >= CHUNK:
            yield first, tuple(chunk)
            chunk, first = {}, place
        chunk[value] = None
    if chunk:
        yield first, tuple(chunk)
