"""The Flight server: parses what comes in, asks the archive, maps errors."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.execution.archive import Archive
from flight_server.flight.actions import ACTIONS, Asked, run_action
from flight_server.flight.calls import Call
from flight_server.flight.errors import guarded, to_domain
from flight_server.flight.exchange import Conversation, refuse
from flight_server.flight.reads import Reads
from flight_server.flight.uploads import Uploads
from flight_server.planning.plan import Plan
from flight_server.protocol.errors import BadValue, Draining, InvalidTicket, NotSupported, StreamCancelled, TooLarge
from flight_server.protocol.query import Query
from flight_server.protocol.ticket_json import parse_exchange, parse_ticket
from flight_server.security.tickets import TicketOffice
from flight_server.service.streams import Streams
from flight_server.settings import Settings

__all__ = ["FlightServer", "address"]

MOST_IDS = 20_000  # of one plan
INFO_BYTES = 3_500_000  # of a plan as it travels: clients in Go and Rust take no message of 4 MiB


class FlightServer(fl.FlightServerBase):  # type: ignore[misc]
    """Serves one archive.

    Parameters
    ----------
    archive
        What answers queries.
    settings
        Address and limits. Port 0 takes a free one; `port` tells which.
    """

    def __init__(self, archive: Archive, settings: Settings) -> None:
        super().__init__(address(settings.server.host, settings.server.port))
        self._archive = archive
        self._settings = settings
        self._streams = Streams(settings.limits.streams)
        self._draining = threading.Event()
        self._tickets = TicketOffice(settings.tickets)
        stall_seconds = settings.limits.stall_seconds
        self._threads = ThreadPoolExecutor(settings.limits.streams, thread_name_prefix="stream")
        self._reads = Reads(archive, self._streams, self._threads, stall_seconds)
        self._uploads = Uploads(archive, stall_seconds)

    def drain(self) -> None:
        """Take no new calls from now on; those under way go on."""
        self._draining.set()

    def shutdown(self) -> None:
        """Stop the server once the calls under way have ended."""
        super().shutdown()
        self._threads.shutdown(wait=False)

    @guarded
    def list_flights(self, context: fl.ServerCallContext, criteria: bytes) -> list[fl.FlightInfo]:
        """Give one flight a table: its path, schema and totals."""
        self._check_open()
        if criteria:
            raise NotSupported("list_flights takes no criteria: it lists the tables", field="criteria")
        catalog = self._archive.catalog()
        return [self._table_info(name) for name in catalog.tables]

    @guarded
    def get_flight_info(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.FlightInfo:
        """Plan a query (command) or describe a table (path)."""
        self._check_open()
        if descriptor.descriptor_type == fl.DescriptorType.PATH:
            return self._table_info(_table_name(descriptor))
        plan = self._plan(context, descriptor)
        if len(plan.ids or ()) > MOST_IDS:
            message = (
                f"a plan is made for at most {MOST_IDS:,} IDs, not {len(plan.ids or ()):,}: make several, or use do_exchange"
            )
            raise TooLarge(message, field="ids", value=len(plan.ids or ()))
        count = self._archive.count(plan)
        most = None
        while True:
            parts, ordered = self._archive.endpoints(plan, most)
            endpoints = [self._endpoint(part, context, number) for number, part in enumerate(self._of_one_plan(parts))]
            info = fl.FlightInfo(plan.schema, descriptor, endpoints, -1 if count is None else count, -1, ordered=ordered)
            if len(parts) == 1 or len(info.serialize()) <= INFO_BYTES:
                return info
            most = len(parts) // 2

    def get_schema(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.SchemaResult:
        """Give the schema of a query or table; never raises, since pyarrow loses what is raised here."""
        try:
            self._check_open()
            if descriptor.descriptor_type == fl.DescriptorType.PATH:
                return fl.SchemaResult(self._table_schema(_table_name(descriptor)))
            return fl.SchemaResult(self._plan(context, descriptor).schema)
        except Exception as error:  # noqa: BLE001  (nothing else may leave)
            return fl.SchemaResult(pa.schema([], metadata={"error": to_domain(error).to_json()}))

    @guarded
    def do_get(self, context: fl.ServerCallContext, ticket: fl.Ticket) -> fl.GeneratorStream:
        """Answer a ticket."""
        self._check_open()
        call = Call(context)
        query = self._tickets.read(ticket.ticket, call.caller(), time.time())
        return self._reads.begin(query, call)

    @guarded
    def list_actions(self, context: fl.ServerCallContext) -> list[fl.ActionType]:
        """List the actions."""
        return [fl.ActionType(name, (action.__doc__ or "").strip()) for name, action in ACTIONS.items()]

    @guarded
    def do_action(self, context: fl.ServerCallContext, action: fl.Action) -> list[fl.Result]:
        """Run an action; it has one result."""
        if action.type not in ACTIONS:
            known = ", ".join(ACTIONS)
            raise NotSupported(f"there is no action {action.type!r:.60}; known are {known}", field="action", value=action.type)
        call, body = Call(context), action.body.to_pybytes()
        asked = Asked(body, call.caller(), self._draining.is_set(), self._archive, self._tickets, self._streams)
        try:
            return [fl.Result(pa.py_buffer(run_action(action.type, asked)))]
        finally:
            call.end()

    @guarded
    def do_put(
        self,
        context: fl.ServerCallContext,
        descriptor: fl.FlightDescriptor,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.FlightMetadataWriter,
    ) -> None:
        """Take in alerts, all of an upload or none."""
        self._check_open()
        if self._settings.ingest.do_put != "allow":
            message = "this server takes no uploads: use alertflight ingest, or set ingest.do_put to allow"
            raise NotSupported(message, field="do_put")
        call = Call(context)
        try:
            self._uploads.receive(descriptor, reader, writer, call.caller())
        finally:
            call.end()

    @guarded
    def do_exchange(
        self,
        context: fl.ServerCallContext,
        descriptor: fl.FlightDescriptor,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.MetadataRecordBatchWriter,
    ) -> None:
        """Answer IDs, or cones, that come in a stream, in their order."""
        call = Call(context)
        try:
            try:
                conversation = self._conversation(descriptor, reader, writer, call)
            except Exception as error:
                refuse(reader, writer, to_domain(error))
                raise
            conversation.run(self._threads)
        finally:
            call.end()

    def _conversation(
        self,
        descriptor: fl.FlightDescriptor,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.MetadataRecordBatchWriter,
        call: Call,
    ) -> Conversation:
        """Admit an exchange."""
        self._check_open()
        _check_command(descriptor)
        query = parse_exchange(descriptor.command, self._settings.tickets.max_bytes)
        stream = self._streams.stream(query.plan)
        stream.open()
        caller = call.caller()
        gone = caller.cancelled
        waiting = replace(caller, cancelled=lambda: stream.cancelled or gone())

        def check() -> None:
            stream.check()
            if gone():
                raise StreamCancelled("the caller went away")

        return Conversation(
            reader,
            writer,
            begin=lambda sent: self._archive.exchange(query, sent, waiting),
            stream=stream,
            stall_seconds=self._settings.limits.stall_seconds,
            check=check,
        )

    def _check_open(self) -> None:
        if self._draining.is_set():
            raise Draining("the server is about to stop")

    def _plan(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> Plan:
        _check_command(descriptor)
        query = parse_ticket(descriptor.command, self._settings.tickets.max_bytes)
        return self._archive.plan(query, Call(context).caller())

    @staticmethod
    def _of_one_plan(parts: list[Query]) -> list[Query]:
        """Mark queries as parts of one plan, so that they can be cancelled together."""
        name = uuid4().hex[:16]
        return [replace(part, plan=part.plan or name) for part in parts]

    def _endpoint(self, query: Query, context: fl.ServerCallContext, number: int) -> fl.FlightEndpoint:
        """Give the endpoint of a query, its ticket signed for the caller if there are keys.

        All locations can answer it; clients that take the first one are spread over them by the endpoint's number.
        """
        all_ = self._settings.server.locations
        turn = number % len(all_) if all_ else 0
        locations = [*all_[turn:], *all_[:turn]]
        issued = self._tickets.issue(query, Call(context).caller(), time.time())
        expires = None if issued.expires is None else pa.scalar(issued.expires * 10**9, pa.timestamp("ns", "UTC"))
        return fl.FlightEndpoint(issued.ticket, locations, expires)

    def _table_schema(self, name: str) -> pa.Schema:
        catalog = self._archive.catalog()
        table = catalog.table(name)
        return pa.schema([column.field() for column in catalog.stored_columns(table).values()])

    def _table_info(self, name: str) -> fl.FlightInfo:
        schema = self._table_schema(name)
        state = self._archive.states()[name]
        totals = (-1 if count is None else count for count in (state.rows, state.bytes))
        return fl.FlightInfo(schema, fl.FlightDescriptor.for_path(name), [], *totals, ordered=False)


def address(host: str, port: int) -> str:
    """Give the URL of a server.

    >>> address("::1", 8815)
    'grpc://[::1]:8815'
    """
    return f"grpc://[{host}]:{port}" if ":" in host else f"grpc://{host}:{port}"


def _check_command(descriptor: fl.FlightDescriptor) -> None:
    if descriptor.descriptor_type != fl.DescriptorType.CMD:
        raise InvalidTicket("a descriptor is a command (a ticket) or a path of one table", field="descriptor")


def _table_name(descriptor: fl.FlightDescriptor) -> str:
    if len(descriptor.path) != 1:
        raise BadValue("a path has one element, the table's name", field="path", value=len(descriptor.path))
    try:
        return str(descriptor.path[0].decode())
    except UnicodeDecodeError:
        raise BadValue("the path is not UTF-8 text", field="path") from None
