"""Exchanges: answers to a stream of IDs or cones, in order, from one view of the store."""

from __future__ import annotations

import json
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
from flight_server.protocol.completeness import CompletenessRecord, list_bytes
from flight_server.protocol.deadlines import Deadline, Sending
from flight_server.protocol.errors import BadValue
from flight_server.protocol.query import Cone, Query
from flight_server.protocol.ticket_values import cone_of
from flight_server.storage.protocols import RowView
from flight_server.storage.scans import Rows

__all__ = ["INDEX", "Exchange", "placeholder_query"]

INDEX = "index"
CHUNK = 1000  # objects read together
FAILED_BYTES = 120  # of a failed cutout in a message, about
CONE = ("ra", "dec", "radius")


def placeholder_query(query: Query, sent: pa.Schema, catalog: Catalog) -> Query:
    """Return the query with a placeholder ID or cone, so that it can be planned before the first batch arrives.

    Raises
    ------
    BadValue
        The columns sent are neither `id` nor `ra`, `dec` and `radius`.
    """
    names = tuple(sent.names)
    if names == ("id",):
        kind = sent.field("id").type
        if not any(
            holds(kind) for holds in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)
        ):
            raise BadValue(f"the column id must have strings or integers, not {kind}", field="id", value=kind)
        table = catalog.table(query.table)
        wanted = catalog.type_of(table, table.id)
        return replace(query, ids=(0 if wanted is not None and pa.types.is_integer(wanted) else "none",))
    if sorted(names) == sorted(CONE):
        for name in names:
            if not pa.types.is_floating(sent.field(name).type) and not pa.types.is_integer(sent.field(name).type):
                raise BadValue(f"the column {name} must have numbers, not {sent.field(name).type}", field=name)
        return replace(query, cone=Cone(0.0, 0.0, 0.0))
    message = f"send batches with a column id, or with ra, dec and radius; these have {', '.join(names)[:80] or 'none'}"
    raise BadValue(message, field="columns", value=",".join(names))


@dataclass(slots=True)
class _Totals:
    """The counts of all answers so far, and the parts of the record's lists that were not sent yet."""

    requested: int = 0
    rows: int = 0
    objects: int = 0
    points: int | None = None
    missing: int = 0
    missing_ids: dict[str | int, None] = field(default_factory=dict)
    missing_bytes: int = 0
    cutouts: CutoutCounts = field(default_factory=CutoutCounts)

    def long_lists(self, most: int) -> Iterator[tuple[str, list[Any]]]:
        """Remove and yield the lists of the record that are longer than so many bytes, with their names."""
        if self.missing_bytes > most:
            found, self.missing_ids, self.missing_bytes = list(self.missing_ids), {}, 0
            yield "missing_ids", found
        if len(self.cutouts.failed) * FAILED_BYTES > most:
            failed, self.cutouts.failed = self.cutouts.failed, []
            yield "failed_cutouts", [cutout.to_dict() for cutout in failed]

    def add(self, counter: CompletenessCounter, *, one: bool) -> None:
        """Add the answer to some IDs, or, if `one`, to one cone."""
        found = int(counter.rows > 0) if one else counter.objects or 0
        self.rows += counter.rows
        self.objects += found
        self.missing += (1 if one else len(counter.ids or ())) - found
        for name in () if one else counter.missing():
            if name not in self.missing_ids:
                self.missing_ids[name] = None
                self.missing_bytes += len(json.dumps(name)) + 2
        if self.points is not None:
            self.points += counter.points or 0
        self.cutouts.add(counter.cutouts)


class Exchange:
    """One exchange: answers batches of IDs or cones.

    Parameters
    ----------
    plan
        The plan of the query with a placeholder; see `placeholder_query`.
    view
        The store as it is when the exchange begins.
    pipeline
        The pipeline that reads the rows.
    caller, seconds
        The caller, and the time limit for each chunk or cone.
    """

    def __init__(self, plan: Plan, view: RowView, pipeline: Pipeline, caller: Caller, seconds: float) -> None:
        self._plan = plan
        self._view = view
        self._pipeline = pipeline
        self._caller = caller
        self._seconds = seconds
        fields = [pa.field(INDEX, pa.int64(), metadata={"description": "Number of the sent row that this answers, from 0"})]
        self.schema = pa.schema([*fields, *plan.schema])
        self.query = plan.query
        self._writer = MessageWriter(plan.query, self.schema)
        self._sending = Sending()
        self._totals = _Totals(points=0 if plan.shape.nested else None)

    def answer(self, sent: pa.RecordBatch) -> Iterator[Message]:
        """Answer each row of a batch with the columns `id`, or `ra`, `dec` and `radius`; repeated rows are answered again.

        Raises
        ------
        BadValue
            A row has a null or an invalid value; names the column.
        """
        # each chunk has a deadline of its own; the exchange as a whole has none
        no_end = Deadline(cancelled=self._caller.cancelled, sending=self._sending)
        # the answer to the last row may continue in the next message
        for message in self._writer.data(self._rows(sent), no_end, lambda rows: {"answered": int(rows.batch[0][-1].as_py())}):
            yield message
            yield from self._long_lists()
        self._totals.requested += len(sent)
        yield from self._long_lists()

    def _long_lists(self) -> Iterator[Message]:
        """Yield the lists of the record that have become long, so that they are not kept until the end."""
        for name, values in self._totals.long_lists(list_bytes(self._writer.room)):
            yield from self._writer.notes(name, values)

    def end(self) -> Iterator[Message]:
        """Yield the messages at the end: the completeness record of the exchange."""
        totals, query = self._totals, self._plan.query
        counts = {"asked": totals.requested, "missing": totals.missing}
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

    def _rows(self, sent: pa.RecordBatch) -> Iterator[Rows]:
        """Read the rows for all IDs or cones of a batch."""
        if "id" in sent.schema.names:
            for first, ids in _chunks(typed_ids(_values(sent, "id"), self._plan.shape.object_id.type)):
                yield from self._numbered(replace(self._plan, ids=ids), first, one=False)
        else:
            for number, values in enumerate(zip(*(_values(sent, name) for name in CONE), strict=True)):
                cone = cone_of(dict(zip(CONE, values, strict=True)))
                plan = replace(self._plan, query=replace(self._plan.query, cone=cone))
                yield from self._numbered(plan, number, one=True)

    def _numbered(self, plan: Plan, first: int, *, one: bool) -> Iterator[Rows]:
        """Read rows, and prepend to each the number of the sent row that it answers."""
        deadline = Deadline.of(self._caller, self._seconds, self._sending)
        reader = self._pipeline.locate(PlanReader(plan, self._view, deadline))
        counter = CompletenessCounter(None if reader.objects is None else reader.objects.ids)
        begin = self._totals.requested + first
        for rows in self._pipeline.rows(reader, counter):
            reader.deadline.check()
            index = np.full(len(rows), begin) if one else rows.request_index + begin
            batch = pa.RecordBatch.from_arrays([pa.array(index), *rows.batch.columns], schema=self.schema)
            yield Rows(batch, index, rows.keys)
        self._totals.add(counter, one=one)


def _values(sent: pa.RecordBatch, name: str) -> list[Any]:
    column = sent[name]
    if column.null_count:
        row = next(number for number, there in enumerate(column.is_valid().to_pylist()) if not there)
        raise BadValue(f"the column {name} is null in row {row} of the batch", field=name)
    return list(column.to_pylist())


def _chunks(ids: Sequence[str | int]) -> Iterator[tuple[int, tuple[str | int, ...]]]:
    """Cut IDs into chunks without repeats, each with the index of its first ID.

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
