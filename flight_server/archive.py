"""The archive: one query in, the messages of its answer out. It composes; storage reads."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from flight_server.answers import Tally
from flight_server.batches import cut
from flight_server.callers import Caller, Patience
from flight_server.catalogue import Catalogue, Column, empty_batch
from flight_server.choosing import Choice, check_class
from flight_server.cursors import MOST_OBJECTS, Place
from flight_server.declarations import Table
from flight_server.deriving import Deriving
from flight_server.digests import Digest
from flight_server.errors import AlertflightError
from flight_server.finding import Found, find
from flight_server.ingest import Upload
from flight_server.nesting import nested, points_of
from flight_server.plan import Plan, endpoint_queries, make_plan
from flight_server.reading import Reading
from flight_server.selection import earlier, limited, limited_to_objects, selected
from flight_server.settings import Settings
from flight_server.stamping import Stamping
from flight_server.storage.keys import key_expression
from flight_server.storage.protocols import CutoutStore, Rows, RowStore, RowView, Scan, Span, TableState
from flight_server.tickets import Query

__all__ = ["Answer", "Archive", "Message"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an answer: a batch, and what it says beside it; nothing where it only says that there is more to come."""

    batch: pa.RecordBatch
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has not been read yet; `messages` reads it, once."""

    plan: Plan
    schema: pa.Schema
    messages: Iterator[Message]


class Archive:
    """Answers queries from a store of rows and a store of stamps.

    Parameters
    ----------
    catalogue
        The packaged catalogue; what the store holds besides is added to it.
    rows, cutouts
        The stores.
    settings
        The limits of an answer and of a stamp.
    """

    def __init__(self, catalogue: Catalogue, rows: RowStore, cutouts: CutoutStore, settings: Settings) -> None:
        self._catalogue = catalogue
        self._rows = rows
        self._cutouts = cutouts
        self._settings = settings
        self._merged: tuple[object, Catalogue] = (None, catalogue)

    def catalogue(self) -> Catalogue:
        """Give the catalogue with the columns that the store holds now."""
        return self._merge(self._rows.view())

    def states(self) -> dict[str, TableState]:
        """Say what each table holds."""
        view = self._rows.view()
        return {name: view.state(table) for name, table in self._catalogue.tables.items()}

    @property
    def store(self) -> str:
        """The kind of store that this archive reads."""
        return self._settings.store

    def faults(self) -> dict[str, AlertflightError]:
        """Say which tables cannot be read, and why."""
        view = self._rows.view()
        found = {name: view.fault(table) for name, table in self._catalogue.tables.items()}
        return {name: fault for name, fault in found.items() if fault is not None}

    def left_out(self) -> dict[str, dict[str, int]]:
        """Count, by table and column, the cells that no answer has, since their type is not known."""
        return {table: dict(cells) for table, cells in self._rows.left_out().items()}

    def refresh(self) -> None:
        """Look again for what the tables hold."""
        self._rows.refresh()

    def upload(self, survey: str, schema: pa.Schema) -> Upload:
        """Begin an upload of alerts; whoever begins it closes it."""
        return Upload(self._rows, self._catalogue, survey, schema)

    def plan(self, query: Query, caller: Caller) -> Plan:
        """Check a query; see `make_plan`."""
        view = self._rows.view()
        return self._reading(query, view, caller).plan

    def endpoints(self, plan: Plan, most: int | None = None) -> tuple[list[Query], bool]:
        """Split a plan's query into ones that can be read apart, and say whether one behind the other they keep its order.

        Where the plan's tables allow it, they are bound to what the store holds now, so that their answers agree.

        Parameters
        ----------
        plan
            What is asked.
        most
            The most queries that it may become.
        """
        view = self._rows.view()
        query = plan.query
        if query.as_of is None and view.as_of and not any(table.on_equal_key == "overwrite" for table in plan.tables):
            query = replace(query, as_of=view.as_of)
        if plan.ids is not None or plan.choice.index is not None:
            return list(endpoint_queries(query, most=most)), True
        scan = Scan(table=plan.table, columns=(), spans=plan.choice.spans, within=plan.within)
        parts = endpoint_queries(query, view.parts(scan), most)
        if not plan.choice.newest:
            return list(parts), True
        turned = list(parts)[::-1]
        return turned, len(turned) == 1

    def count(self, plan: Plan) -> int | None:
        """Count the rows of an answer where that is cheap."""
        bounds = (plan.start, plan.stop, plan.query.as_of, plan.after, plan.query.limit_objects, plan.within)
        nested_rows = plan.query.layout == "nested"
        if nested_rows or plan.added or plan.choice != Choice() or any(bound is not None for bound in bounds):
            return None
        rows = self._rows.view().count(plan.table, plan.ids)
        return rows if rows is None or plan.query.limit is None else min(rows, plan.query.limit)

    def answer(self, query: Query, caller: Caller) -> Answer:
        """Plan a query against one view of the store and begin its answer; nothing is read yet."""
        reading = self._reading(query, self._rows.view(), caller)
        schema = reading.plan.schema
        return Answer(reading.plan, schema, self._messages(reading, schema))

    def _reading(self, query: Query, view: RowView, caller: Caller) -> Reading:
        plan = make_plan(query, self._merge(view))  # rights come later
        reading = Reading(plan, view, Patience.of(caller, self._settings.limits.seconds))
        reading.check_bound()
        self._check_name(reading)
        return reading

    def _check_name(self, reading: Reading) -> None:
        """Refuse a class that is in no list and has no rows."""
        plan = reading.plan
        if plan.choice.named is None or plan.choice.spans is None or plan.choice.named[0] in plan.choice.named[1]:
            return
        if plan.within is not None:  # a part of a plan that was checked; it need not have rows itself
            return
        spans = [Span(values=span.values) for span in plan.choice.spans]
        if not any(len(rows.keys) for rows in reading.scan(plan.table, (), spans=spans)):
            raise check_class(*plan.choice.named)

    def _merge(self, view: RowView) -> Catalogue:
        held, merged = self._merged
        if held is not view.columns:
            merged = self._catalogue.with_stored(view.columns)
            self._merged = (view.columns, merged)
        return merged

    def _messages(self, reading: Reading, schema: pa.Schema) -> Iterator[Message]:
        empty = empty_batch(schema)
        if (index := reading.plan.choice.index) is not None:
            reading = yield from self._located(reading, index, Message(empty))
        plan = reading.plan
        as_of = reading.view.as_of if plan.query.as_of is None else plan.query.as_of
        tally = Tally(plan.ids, as_of, not plan.table.by_object, points=0 if plan.query.layout == "nested" else None)
        digest = Digest(schema) if plan.query.digest else None
        fingerprint = plan.query.fingerprint()
        compression = None if plan.query.compression == "none" else plan.query.compression
        goes_on = plan.query.limit_objects is None or plan.table.by_object
        place = plan.after
        seq = 0
        whole = "light curve that ends with the row" if plan.query.layout == "nested" else "row"
        for piece in cut(self._rows_of(reading, schema, tally), plan.query.max_message_bytes, compression, whole):
            reading.patience.check()
            if not len(piece.batch):
                yield Message(empty)
                continue
            place = _behind(piece, place, plan)
            if digest:
                digest.update(piece.batch)
            yield Message(piece.batch, {"seq": seq} | ({"cursor": place.cursor(fingerprint)} if goes_on else {}))
            seq += 1
        if place is not None and not tally.complete and goes_on:
            tally.cursor = replace(place, sent=0, objects=0).cursor(fingerprint)
        if plan.after is not None and tally.complete:
            yield from (Message(empty) for _ in self._know_earlier(reading, tally))
        room = plan.query.max_message_bytes - pa.ipc.get_record_batch_size(empty)
        for note in tally.notes(room):
            yield Message(empty, note)
        yield Message(
            empty,
            tally.record(room) | ({"digest": digest.hexdigest()} if digest else {}),
        )

    def _located(self, reading: Reading, index: Table, waiting: Message) -> Generator[Message, None, Reading]:
        """Find what lies in the plan's part of the sky; gives a reading of just that."""
        own = index is reading.plan.table
        finding = find(reading, index, self._catalogue, self._work_columns(reading.plan) if own else None)
        while True:
            try:
                next(finding)
            except StopIteration as done:
                found: Found = done.value
                break
            yield waiting
        plan = reading.plan
        if own:
            found = found.behind(plan.after)
            return replace(reading, keys=found.keys, rows=found.rows)
        return replace(reading, plan=replace(plan, ids=found.objects, after=found.placed(plan.after, plan.table)))

    def _rows_of(self, reading: Reading, schema: pa.Schema, tally: Tally) -> Iterator[Rows]:
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
            return Stamping(reading, self._catalogue, self._cutouts, self._settings, tally).stamped(rows, plan.stamps)
        return rows if columns is plan.columns else _shaped(rows, schema)

    def _know_earlier(self, reading: Reading, tally: Tally) -> Iterator[Rows]:
        """Find which objects before the cursor's have rows, since no record has said it; gives the rows of zero rows."""
        plan = reading.plan
        if plan.ids is None or plan.after is None:
            return
        tally.know(plan.after.asked)
        bounded = plan.start is not None or plan.stop is not None
        time = plan.table.time if bounded else None
        column = self._catalogue.known[plan.table.survey][time or plan.table.id]
        for some in earlier(reading, (column,)):
            reading.patience.check()
            if len(some.batch):
                tally.know(some.asked)
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
        stored = self._catalogue.stored_columns(plan.table)
        for column in plan.derived.values():
            needed += column.reads(stored)
        # light curves have the ID that they were asked by
        left_out = plan.table.id if plan.query.layout == "nested" and plan.ids is not None else None
        if not needed and left_out is None:
            return plan.columns
        columns = [column for column in plan.columns if column.name not in plan.derived and column.name != left_out]
        asked = {column.name for column in columns}
        known = self._catalogue.described(plan.table)
        further = tuple(known[name] for name in dict.fromkeys(needed) if name not in asked)
        # the same tuple has its schema ready
        return (*columns, *further) if further or plan.derived or left_out else plan.columns


def _deriving(plan: Plan) -> Deriving | None:
    if not plan.derived:
        return None
    limits, cone = plan.table.upper_limits, plan.query.cone
    own = (limits.tag, limits.own) if plan.added and limits is not None else None
    given = {} if cone is None else {"centre": (cone.ra, cone.dec)}
    return Deriving(plan.derived, plan.table.id, own, given)


def _behind(piece: Rows, before: Place | None, plan: Plan) -> Place:
    """Give the place behind some rows of an answer."""
    place = Place.behind(piece, before)
    if plan.query.layout == "nested":
        # an object is there whole, whichever of its rows share the last one's key
        place = replace(place, same=MOST_OBJECTS)
    if plan.query.limit_objects is not None and plan.table.by_object:
        object_of = key_expression(plan.table.key).first_part
        objects = dict.fromkeys(object_of(key) for key in piece.keys.tolist())
        begun = len(objects) - (before is not None and before.objects > 0 and object_of(before.key) in objects)
        place = replace(place, objects=begun + (0 if before is None else before.objects))
    return place


def _counted(rows: Iterator[Rows], plan: Plan, tally: Tally) -> Iterator[Rows]:
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
