"""The archive: answers queries with messages of record batches."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Projection
from flight_server.catalog.declarations import Table
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
from flight_server.protocol.errors import AlertflightError, NotSupported, TableAbsent, TableRefused
from flight_server.protocol.query import Query
from flight_server.settings import Settings
from flight_server.storage.outages import Outage
from flight_server.storage.protocols import CutoutStore, RowStore, RowView, TableState
from flight_server.storage.scans import Scan, Span

__all__ = ["Answer", "Archive"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, not read yet; iterating over `messages` reads it, once.

    Parameters
    ----------
    plan
        The plan of the query.
    messages
        The messages; a caller that does not read all of them closes the generator.
    deadline
        The deadline of the answer.
    is_quick
        Whether the first messages are ready so soon that no keep-alive is needed.
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
        The packaged catalog; the columns that the store has recorded are added to it.
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
        """The kind of store, `embedded` or `hbase`."""
        return self._settings.store

    def catalog(self) -> Catalog:
        """Return the catalog with the columns that the store has now."""
        return self._planner(self._rows.view()).catalog

    def states(self) -> dict[str, TableState]:
        """Return the state of each table."""
        view = self._rows.view()
        return {name: view.state(table) for name, table in self._catalog.tables.items()}

    def faults(self) -> dict[str, AlertflightError]:
        """Return the errors of tables that cannot be read, by table."""
        self._rows.recheck()
        view = self._rows.view()
        found = {name: view.fault(table) for name, table in self._catalog.tables.items()}
        return {name: fault for name, fault in found.items() if fault is not None}

    def absent_surveys(self) -> tuple[str, ...]:
        """Return the surveys of which the store has no table, though it has those of another one."""
        faults = self.faults()
        found = [
            name
            for name, survey in self._catalog.surveys.items()
            if all(isinstance(faults.get(table), TableAbsent) for table in survey.tables)
        ]
        return tuple(found) if len(found) < len(self._catalog.surveys) else ()

    def surprising_faults(self) -> dict[str, AlertflightError]:
        """Return the errors of tables that cannot be read, by table, without those of surveys that are absent."""
        absent = self.absent_surveys()
        return {name: fault for name, fault in self.faults().items() if self._catalog.tables[name].survey not in absent}

    def refused(self) -> dict[str, TableRefused]:
        """Return the errors of tables that are not served, by table."""
        return {name: fault for name, fault in self.faults().items() if isinstance(fault, TableRefused)}

    def served_table(self, name: str) -> Table:
        """Find a table.

        Raises
        ------
        UnknownTable, TableRefused
            There is none, or it is not served, so that its columns are unknown.
        """
        table = self._catalog.table(name)
        if name in (refused := self.refused()):
            raise refused[name]
        return table

    def refused_columns(self) -> dict[str, dict[str, str]]:
        """Return the columns that are not served since the store holds them otherwise, by table, with the reason."""
        return {table: dict(columns) for table, columns in self._rows.view().refused.items()}

    def outages(self) -> Sequence[Outage]:
        """Return the services behind the store that do not answer now."""
        return self._rows.outages()

    def left_out(self) -> dict[str, dict[str, int]]:
        """Return the number of cells without a known type by table and column; answers leave them out."""
        return {table: dict(cells) for table, cells in self._rows.left_out().items()}

    def refresh(self) -> None:
        """Read the columns of the tables from the store again."""
        self._rows.refresh()

    def upload(self, survey: str, schema: pa.Schema) -> Upload:
        """Begin an upload of alerts; the caller closes it."""
        return Upload(self._rows, self._catalog, survey, schema)

    def plan(self, query: Query, caller: Caller) -> Plan:
        """Check a query; see `Planner.plan`."""
        return self._reader(query, self._rows.view(), caller).plan

    def endpoints(self, plan: Plan, most: int | None = None) -> tuple[list[Query], bool]:
        """Split a plan's query for parallel reading; return the queries and whether, read in order, they keep the row order.

        If the store and the plan's tables keep versions, all parts get the same `as_of`, so that they read the same state of
        the store. A store without versions would not find rows that are written again between the plan and the read.

        Parameters
        ----------
        plan
            The plan of the query.
        most
            The most queries to return.
        """
        view = self._rows.view()
        query = plan.query
        keeps_state = query.as_of is not None or query.resume_after is not None
        if (
            not keeps_state
            and view.as_of
            and view.keeps_versions
            and not any(table.on_equal_key == "overwrite" for table in plan.tables)
        ):
            query = replace(query, as_of=view.as_of)
        if plan.ids is not None or plan.selection.index is not None:
            return list(endpoint_queries(query, most=most)), True
        if plan.selection.leading is not None:  # its rows are not in the order of the keys
            return [query], True
        scan = Scan(table=plan.table, columns=Projection(), spans=plan.selection.spans, within=plan.within)
        parts = list(endpoint_queries(query, view.split(scan), most))
        if not plan.selection.newest:
            return parts, True
        return parts[::-1], len(parts) == 1

    def count(self, plan: Plan) -> int | None:
        """Return the number of rows of an answer if that is cheap, else None."""
        bounds = (plan.start, plan.stop, plan.query.as_of, plan.after, plan.query.limit_objects, plan.within)
        selected = plan.added or plan.selection != RowSelection()
        if plan.shape.nested or selected or any(bound is not None for bound in bounds):
            return None
        rows = self._rows.view().count(plan.table, plan.ids)
        return rows if rows is None or plan.query.limit is None else min(rows, plan.query.limit)

    def answer(self, query: Query, caller: Caller) -> Answer:
        """Plan a query against a view of the store and return its answer; no rows are read yet."""
        reader = self._reader(query, self._rows.view(), caller)
        quick = reader.plan.ids is not None and not self._rows.is_remote
        return Answer(reader.plan, self._messages(reader), reader.deadline, quick)

    def exchange(self, query: Query, sent: pa.Schema, caller: Caller) -> Exchange:
        """Begin an exchange: one view of the store answers all of its IDs or cones.

        Parameters
        ----------
        query
            A query without a selection.
        sent
            The schema of the client's batches: `id`, or `ra`, `dec` and `radius`.
        caller
            The caller.
        """
        view = self._rows.view()
        reader = self._reader(placeholder_query(query, sent, self._planner(view).catalog), view, caller)
        return Exchange(reader.plan, reader.view, self._pipeline, caller, self._settings.limits.seconds)

    def check_exchange(self, query: Query, caller: Caller) -> None:
        """Check a query of an exchange against the tables, before it is known whether IDs or cones will be sent.

        Raises
        ------
        AlertflightError
            The exchange would be refused for both.
        """
        try:
            self.exchange(query, pa.schema([("id", pa.string())]), caller)
        except NotSupported as refusal:
            if refusal.field != "ids":
                raise
            self.exchange(query, pa.schema([(name, pa.float64()) for name in ("ra", "dec", "radius")]), caller)

    def _reader(self, query: Query, view: RowView, caller: Caller) -> PlanReader:
        plan = self._planner(view).plan(query)
        if self._rows.is_remote and any(view.fault(table) is not None for table in plan.tables) and self._rows.recheck():
            view = self._rows.view()
            plan = self._planner(view).plan(query)
        reader = PlanReader(plan, view, Deadline.of(caller, self._settings.limits.seconds))
        reader.check_as_of()
        _check_class(reader)
        return reader

    def _planner(self, view: RowView) -> Planner:
        """Return the planner for the columns of the store; views share `columns` until they change."""
        held, planner = self._planned
        if held is not view.columns:
            planner = Planner(self._catalog.with_stored(view.columns, view.refused))
            self._planned = (view.columns, planner)
        return planner

    def _messages(self, reader: PlanReader) -> Generator[Message, None, None]:
        reader = self._pipeline.locate(reader)
        plan = reader.plan
        ids = None if reader.objects is None else reader.objects.ids
        counter = CompletenessCounter(ids, mixed=not plan.table.by_object, points=0 if plan.shape.nested else None)
        writer = MessageWriter(plan.query, plan.schema, plan.shape.empty)
        progress = Progress(reader)
        yield from writer.data(self._pipeline.rows(reader, counter), reader.deadline, progress.advance)
        if plan.after is not None and counter.complete:
            self._pipeline.mark_earlier(reader, counter)
        cursor = None if counter.complete else progress.next_page()
        yield from writer.record(counter.record(reader.moment, cursor, writer.digest()))


def _check_class(reader: PlanReader) -> None:
    """Raise if a requested class is not in the known lists and has no rows."""
    plan, selection = reader.plan, reader.plan.selection
    if selection.named is None or selection.spans is None or selection.named[0] in selection.named[1]:
        return
    if plan.within is not None:  # a part of a plan that was already checked; the part may have no rows
        return
    spans = [Span(values=span.values) for span in selection.spans]
    if not any(len(rows) for rows in reader.scan(plan.table, Projection(), spans=spans)):
        raise unknown_class(*selection.named)
