"""The archive: one query in, the messages of its answer out. It composes; storage reads."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Projection
from flight_server.execution.completeness import CompletenessCounter
from flight_server.execution.cutout_columns import CutoutLimits
from flight_server.execution.exchange import Exchange, placeholder_query
from flight_server.execution.messages import Message, MessageWriter
from flight_server.execution.pipeline import Pipeline
from flight_server.execution.progress import Progress
from flight_server.execution.reader import PlanReader
from flight_server.ingest import Upload
from flight_server.planning.endpoints import endpoint_queries
from flight_server.planning.plan import Plan, Planner
from flight_server.planning.row_selection import RowSelection, unknown_class
from flight_server.protocol.callers import Caller
from flight_server.protocol.deadlines import Deadline
from flight_server.protocol.errors import AlertflightError
from flight_server.protocol.query import Query
from flight_server.settings import Settings
from flight_server.storage.protocols import CutoutStore, RowStore, RowView, TableState
from flight_server.storage.scans import Scan, Span

__all__ = ["Answer", "Archive"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has not been read yet; `messages` reads it, once.

    Parameters
    ----------
    plan
        What is read.
    messages
        The answer; whoever does not read it to its end closes it.
    deadline
        Until when.
    is_quick
        Whether the first messages come at once, so that whoever waits for them need not be told that work goes on.
    """

    plan: Plan
    messages: Generator[Message, None, None]
    deadline: Deadline
    is_quick: bool

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every message."""
        return self.plan.schema


class Archive:
    """Answers queries from a store of rows and a store of cutouts.

    Parameters
    ----------
    catalog
        The packaged catalog; what the store holds besides is added to it.
    rows, cutouts
        The stores.
    settings
        The limits of an answer and of a cutout.
    """

    def __init__(self, catalog: Catalog, rows: RowStore, cutouts: CutoutStore, settings: Settings) -> None:
        self._catalog = catalog
        self._rows = rows
        self._settings = settings
        self._pipeline = Pipeline(catalog, cutouts, CutoutLimits(settings.limits.cutouts, settings.cutouts.max_unpacked))
        self._planned: tuple[object, Planner] = (None, Planner(catalog))

    @property
    def store(self) -> str:
        """The kind of store that this archive reads."""
        return self._settings.store

    def catalog(self) -> Catalog:
        """Return the catalog with the columns that the store holds now."""
        return self._planner(self._rows.view()).catalog

    def states(self) -> dict[str, TableState]:
        """Return what each table holds."""
        view = self._rows.view()
        return {name: view.state(table) for name, table in self._catalog.tables.items()}

    def faults(self) -> dict[str, AlertflightError]:
        """Return which tables cannot be read, and why."""
        view = self._rows.view()
        found = {name: view.fault(table) for name, table in self._catalog.tables.items()}
        return {name: fault for name, fault in found.items() if fault is not None}

    def left_out(self) -> dict[str, dict[str, int]]:
        """Count, by table and column, the cells that no answer has, since their type is not known."""
        return {table: dict(cells) for table, cells in self._rows.left_out().items()}

    def refresh(self) -> None:
        """Read anew what the tables hold."""
        self._rows.refresh()

    def upload(self, survey: str, schema: pa.Schema) -> Upload:
        """Begin an upload of alerts; whoever begins it closes it."""
        return Upload(self._rows, self._catalog, survey, schema)

    def plan(self, query: Query, caller: Caller) -> Plan:
        """Check a query; see `Planner.plan`."""
        return self._reader(query, self._rows.view(), caller).plan

    def endpoints(self, plan: Plan, most: int | None = None) -> tuple[list[Query], bool]:
        """Split a plan's query into ones that can be read apart, and return whether in their order they keep its order.

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
        if plan.ids is not None or plan.selection.index is not None:
            return list(endpoint_queries(query, most=most)), True
        scan = Scan(table=plan.table, columns=Projection(), spans=plan.selection.spans, within=plan.within)
        parts = list(endpoint_queries(query, view.split(scan), most))
        if not plan.selection.newest:
            return parts, True
        return parts[::-1], len(parts) == 1

    def count(self, plan: Plan) -> int | None:
        """Count the rows of an answer where that is cheap."""
        bounds = (plan.start, plan.stop, plan.query.as_of, plan.after, plan.query.limit_objects, plan.within)
        selected = plan.added or plan.selection != RowSelection()
        if plan.shape.nested or selected or any(bound is not None for bound in bounds):
            return None
        rows = self._rows.view().count(plan.table, plan.ids)
        return rows if rows is None or plan.query.limit is None else min(rows, plan.query.limit)

    def answer(self, query: Query, caller: Caller) -> Answer:
        """Plan a query against one view of the store and begin its answer; nothing is read yet."""
        reader = self._reader(query, self._rows.view(), caller)
        quick = reader.plan.ids is not None and not self._rows.is_remote
        return Answer(reader.plan, self._messages(reader), reader.deadline, quick)

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
        reader = self._reader(placeholder_query(query, sent, self._planner(view).catalog), view, caller)
        return Exchange(reader.plan, view, self._pipeline, caller, self._settings.limits.seconds)

    def _reader(self, query: Query, view: RowView, caller: Caller) -> PlanReader:
        plan = self._planner(view).plan(query)
        reader = PlanReader(plan, view, Deadline.of(caller, self._settings.limits.seconds))
        reader.check_as_of()
        _check_class(reader)
        return reader

    def _planner(self, view: RowView) -> Planner:
        """Return the planner for what the store holds; a view keeps its columns until they change."""
        held, planner = self._planned
        if held is not view.columns:
            planner = Planner(self._catalog.with_stored(view.columns))
            self._planned = (view.columns, planner)
        return planner

    def _messages(self, reader: PlanReader) -> Generator[Message, None, None]:
        reader = self._pipeline.locate(reader)
        plan = reader.plan
        counter = CompletenessCounter(plan.ids, mixed=not plan.table.by_object, points=0 if plan.shape.nested else None)
        writer = MessageWriter(plan.query, plan.schema, plan.shape.empty)
        progress = Progress(plan)
        yield from writer.data(self._pipeline.rows(reader, counter), reader.deadline, progress.advance)
        if plan.after is not None and counter.complete:
            self._pipeline.mark_earlier(reader, counter)
        as_of = reader.view.as_of if plan.query.as_of is None else plan.query.as_of
        cursor = None if counter.complete else progress.next_page()
        yield from writer.record(counter.record(as_of, cursor, writer.digest()))


def _check_class(reader: PlanReader) -> None:
    """Refuse a class that is in no list and has no rows."""
    plan, selection = reader.plan, reader.plan.selection
    if selection.named is None or selection.spans is None or selection.named[0] in selection.named[1]:
        return
    if plan.within is not None:  # a part of a plan that was checked; it need not have rows itself
        return
    spans = [Span(values=span.values) for span in selection.spans]
    if not any(len(rows) for rows in reader.scan(plan.table, Projection(), spans=spans)):
        raise unknown_class(*selection.named)
