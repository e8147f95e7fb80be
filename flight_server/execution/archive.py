"""The archive: one query in, the messages of its answer out. It composes; storage reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from flight_server.catalog.catalog import Catalog, empty_batch
from flight_server.execution.batches import cut
from flight_server.execution.completeness import CompletenessCounter
from flight_server.execution.digests import Digest
from flight_server.execution.exchange import Exchange, placeholder_query
from flight_server.execution.messages import Message
from flight_server.execution.pipeline import Answering
from flight_server.execution.reader import Reading
from flight_server.ingest import Upload
from flight_server.planning.cursors import MOST_OBJECTS, Place
from flight_server.planning.plan import Plan, endpoint_queries, make_plan
from flight_server.planning.row_selection import RowSelection, check_class
from flight_server.protocol.callers import Caller, Deadline
from flight_server.protocol.errors import AlertflightError
from flight_server.protocol.query import Query
from flight_server.settings import Settings
from flight_server.storage.keys import key_expression
from flight_server.storage.protocols import CutoutStore, Rows, RowStore, RowView, Scan, Span, TableState

__all__ = ["Answer", "Archive"]


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
    catalog
        The packaged catalog; what the store holds besides is added to it.
    rows, cutouts
        The stores.
    settings
        The limits of an answer and of a stamp.
    """

    def __init__(self, catalog: Catalog, rows: RowStore, cutouts: CutoutStore, settings: Settings) -> None:
        self._catalog = catalog
        self._rows = rows
        self._settings = settings
        self._answering = Answering(catalog, cutouts, settings)
        self._merged: tuple[object, Catalog] = (None, catalog)

    def catalog(self) -> Catalog:
        """Give the catalog with the columns that the store holds now."""
        return self._merge(self._rows.view())

    def states(self) -> dict[str, TableState]:
        """Say what each table holds."""
        view = self._rows.view()
        return {name: view.state(table) for name, table in self._catalog.tables.items()}

    @property
    def store(self) -> str:
        """The kind of store that this archive reads."""
        return self._settings.store

    def faults(self) -> dict[str, AlertflightError]:
        """Say which tables cannot be read, and why."""
        view = self._rows.view()
        found = {name: view.fault(table) for name, table in self._catalog.tables.items()}
        return {name: fault for name, fault in found.items() if fault is not None}

    def left_out(self) -> dict[str, dict[str, int]]:
        """Count, by table and column, the cells that no answer has, since their type is not known."""
        return {table: dict(cells) for table, cells in self._rows.left_out().items()}

    def refresh(self) -> None:
        """Look again for what the tables hold."""
        self._rows.refresh()

    def upload(self, survey: str, schema: pa.Schema) -> Upload:
        """Begin an upload of alerts; whoever begins it closes it."""
        return Upload(self._rows, self._catalog, survey, schema)

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
        if nested_rows or plan.added or plan.choice != RowSelection() or any(bound is not None for bound in bounds):
            return None
        rows = self._rows.view().count(plan.table, plan.ids)
        return rows if rows is None or plan.query.limit is None else min(rows, plan.query.limit)

    def answer(self, query: Query, caller: Caller) -> Answer:
        """Plan a query against one view of the store and begin its answer; nothing is read yet."""
        reading = self._reading(query, self._rows.view(), caller)
        schema = reading.plan.schema
        return Answer(reading.plan, schema, self._messages(reading, schema))

    def exchange(self, query: Query, sent: pa.Schema, caller: Caller) -> Exchange:
        """Begin to answer what comes in a stream, with one view of the store for all of it.

        Parameters
        ----------
        query
            A query without a selection.
        sent
            The columns of what comes: `id`, or `ra`, `dec` and `radius`.
        caller
            Who asks.
        """
        view = self._rows.view()
        reading = self._reading(placeholder_query(query, sent, self._merge(view)), view, caller)
        return Exchange(reading.plan, view, self._answering, caller, self._settings.limits.seconds)

    def _reading(self, query: Query, view: RowView, caller: Caller) -> Reading:
        plan = make_plan(query, self._merge(view))  # rights come later
        reading = Reading(plan, view, Deadline.of(caller, self._settings.limits.seconds))
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

    def _merge(self, view: RowView) -> Catalog:
        held, merged = self._merged
        if held is not view.columns:
            merged = self._catalog.with_stored(view.columns)
            self._merged = (view.columns, merged)
        return merged

    def _messages(self, reading: Reading, schema: pa.Schema) -> Iterator[Message]:
        empty = empty_batch(schema)
        locating = self._answering.located(reading)
        while True:
            try:
                next(locating)
            except StopIteration as done:
                reading = done.value
                break
            yield Message(empty)
        plan = reading.plan
        as_of = reading.view.as_of if plan.query.as_of is None else plan.query.as_of
        tally = CompletenessCounter(
            plan.ids, as_of, not plan.table.by_object, points=0 if plan.query.layout == "nested" else None
        )
        digest = Digest(schema) if plan.query.digest else None
        fingerprint = plan.query.fingerprint()
        compression = None if plan.query.compression == "none" else plan.query.compression
        goes_on = plan.query.limit_objects is None or plan.table.by_object
        place = plan.after
        seq = 0
        whole = "light curve that ends with the row" if plan.query.layout == "nested" else "row"
        for piece in cut(self._answering.rows_of(reading, schema, tally), plan.query.max_message_bytes, compression, whole):
            reading.deadline.check()
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
            yield from (Message(empty) for _ in self._answering.know_earlier(reading, tally))
        room = plan.query.max_message_bytes - pa.ipc.get_record_batch_size(empty)
        for note in tally.notes(room):
            yield Message(empty, note)
        yield Message(
            empty,
            tally.record(room) | ({"digest": digest.hexdigest()} if digest else {}),
        )


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
