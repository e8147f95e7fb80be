"""Answers to IDs, or places in the sky, that keep coming: all against one view of the store, in the order they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from flight_server.catalog.catalog import Catalog, empty_batch
from flight_server.execution.batches import cut
from flight_server.execution.completeness import CompletenessCounter, FailedCutout
from flight_server.execution.digests import Digest
from flight_server.execution.messages import Message
from flight_server.execution.pipeline import Answering
from flight_server.execution.reader import Reading
from flight_server.planning.plan import Plan, typed_ids
from flight_server.protocol.callers import Caller, Deadline
from flight_server.protocol.errors import BadValue
from flight_server.protocol.query import Cone, Query
from flight_server.protocol.ticket_values import cone_of
from flight_server.storage.protocols import NOTHING_YET, Rows, RowView

__all__ = ["INDEX", "Exchange", "placeholder_query"]

INDEX = "index"
CHUNK = 1000  # objects that are read together
PULSE_SECONDS = 5.0  # how long a client hears nothing while nothing is found
CONE = ("ra", "dec", "radius")


def placeholder_query(query: Query, sent: pa.Schema, catalog: Catalog) -> Query:
    """Give the query with some object, or cone, in the place of those that will be asked for in these columns.

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
    missing_cutouts: int = 0
    cutout_bytes_read: int = 0
    cutout_errors: dict[str, int] = field(default_factory=dict)
    failed_cutouts: list[FailedCutout] = field(default_factory=list)


class Exchange:
    """Answers what is asked piece by piece.

    Parameters
    ----------
    plan
        The query, checked, with any object in the place of those that will be asked for.
    view
        The store as it is when the exchange begins.
    answering
        Reads the rows.
    caller, seconds
        Who asks, and how long the answer to one piece may take.
    """

    def __init__(self, plan: Plan, view: RowView, answering: Answering, caller: Caller, seconds: float) -> None:
        self._plan = plan
        self._view = view
        self._answering = answering
        self._caller = caller
        self._seconds = seconds
        fields = [pa.field(INDEX, pa.int64(), metadata={"description": "Which row of what was sent this answers, from 0"})]
        self.schema = pa.schema([*fields, *plan.schema])
        self.query = plan.query
        self._digest = Digest(self.schema) if plan.query.digest else None
        self._totals = _Totals(points=0 if plan.query.layout == "nested" else None)
        self._seq = 0

    def answer(self, asked: pa.RecordBatch) -> Iterator[Message]:
        """Answer some rows of what was sent, columns `id`, or `ra`, `dec` and `radius`; each of them, repeated or not.

        Raises
        ------
        BadValue
            Names the row that asks for nothing that can be.
        """
        query = self._plan.query
        compression = None if query.compression == "none" else query.compression
        rows = self._rows(asked)
        what = "light curve that ends with the row" if query.layout == "nested" else "row"
        for piece in cut(rows, query.max_message_bytes, compression, what):
            if not len(piece.batch):
                yield Message(empty_batch(self.schema))
                continue
            if self._digest is not None:
                self._digest.update(piece.batch)
            # the last of them may have rows yet to come
            yield Message(piece.batch, {"seq": self._seq, "answered": int(piece.batch[0][-1].as_py())})
            self._seq += 1

    def end(self) -> Iterator[Message]:
        """Say what all answers were."""
        totals, query, empty = self._totals, self._plan.query, empty_batch(self.schema)
        as_of = self._view.as_of if query.as_of is None else query.as_of
        names = tuple(totals.missing_ids)
        tally = CompletenessCounter(names, as_of, points=totals.points)
        tally.rows, tally.missing_cutouts = totals.rows, totals.missing_cutouts
        tally.cutout_bytes_read = totals.cutout_bytes_read
        tally.cutout_errors.update(totals.cutout_errors)
        tally.failed_cutouts = totals.failed_cutouts
        room = query.max_message_bytes - pa.ipc.get_record_batch_size(empty)
        yield from (Message(empty, note) for note in tally.notes(room))
        counts = {"asked": totals.asked, "objects": totals.objects, "missing": totals.missing}
        digest = {} if self._digest is None else {"digest": self._digest.hexdigest()}
        yield Message(empty, tally.record(room) | counts | digest)

    def _rows(self, asked: pa.RecordBatch) -> Iterator[Rows]:
        """Read the rows of all that is asked; where none are found for long, says that it is still at work."""
        heard = time.monotonic()
        for some in self._found(asked):
            if len(some.batch) or time.monotonic() - heard >= PULSE_SECONDS:
                heard = time.monotonic()
                yield some
        self._totals.asked += len(asked)

    def _found(self, asked: pa.RecordBatch) -> Iterator[Rows]:
        """Read them, with rows of no row behind each part."""
        if "id" in asked.schema.names:
            for first, ids in _chunks(typed_ids(_values(asked, "id"), self._plan.object_id.type)):
                yield from self._read(replace(self._plan, ids=ids), first)
                yield NOTHING_YET
        else:
            for number, values in enumerate(zip(*(_values(asked, name) for name in CONE), strict=True)):
                cone = cone_of(dict(zip(CONE, values, strict=True)))
                yield from self._read_cone(cone, number)
                yield NOTHING_YET

    def _reading(self, plan: Plan) -> Reading:
        return Reading(plan, self._view, Deadline.of(self._caller, self._seconds))

    def _read_cone(self, cone: Cone, number: int) -> Iterator[Rows]:
        plan = replace(self._plan, query=replace(self._plan.query, cone=cone))
        reading = yield from self._answering.located(self._reading(plan))
        yield from self._numbered(reading, CompletenessCounter(reading.plan.ids, 0), number, one=True)

    def _read(self, plan: Plan, first: int) -> Iterator[Rows]:
        tally = CompletenessCounter(plan.ids, 0)
        yield from self._numbered(self._reading(plan), tally, first, one=False)
        self._totals.missing_ids |= dict.fromkeys(tally.missing())

    def _numbered(self, reading: Reading, tally: CompletenessCounter, first: int, *, one: bool) -> Iterator[Rows]:
        """Read rows, and put in front of each the number of the row sent that asked for it."""
        begin = self._totals.asked + first
        for rows in self._answering.rows_of(reading, self._plan.schema, tally):
            reading.deadline.check()
            if not len(rows.batch):
                yield rows
                continue
            index = np.full(len(rows.request_index), begin) if one else rows.request_index + begin
            batch = pa.RecordBatch.from_arrays([pa.array(index), *rows.batch.columns], schema=self.schema)
            yield Rows(batch, index, rows.keys)
        self._count(tally, one=one)

    def _count(self, tally: CompletenessCounter, *, one: bool) -> None:
        totals = self._totals
        found = int(tally.rows > 0) if one else tally.objects
        totals.rows += tally.rows
        totals.objects += found
        totals.missing += (1 if one else len(tally.ids or ())) - found
        if totals.points is not None:
            totals.points += tally.points or 0
        totals.missing_cutouts += tally.missing_cutouts
        totals.cutout_bytes_read += tally.cutout_bytes_read
        totals.failed_cutouts += tally.failed_cutouts
        for reason, count in tally.cutout_errors.items():
            totals.cutout_errors[reason] = totals.cutout_errors.get(reason, 0) + count


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
