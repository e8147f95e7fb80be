"""The Flight server: parses what comes in, asks the archive, maps errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from uuid import uuid4

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.execution.archive import Archive
from flight_server.execution.messages import Message
from flight_server.flight.actions import ACTIONS, Asked, run_action
from flight_server.flight.calls import Call
from flight_server.flight.errors import guarded, guarded_stream, to_domain
from flight_server.flight.exchange import Conversation, refuse
from flight_server.flight.uploads import Uploads
from flight_server.flight.wire import encode_metadata, ipc_options
from flight_server.planning.plan import Plan
from flight_server.protocol.errors import BadValue, Draining, InvalidTicket, NotSupported, StreamCancelled, TooLarge
from flight_server.protocol.query import Query
from flight_server.protocol.ticket_json import parse_exchange, parse_ticket
from flight_server.security.tickets import TicketOffice
from flight_server.service.streams import Stream, Streams
from flight_server.settings import Settings

__all__ = ["FlightServer", "address"]

MOST_IDS = 20_000  # of one plan
INFO_BYTES = 3_500_000  # of a plan as it travels: clients in Go and Rust take no message of 4 MiB
Sent = tuple[pa.RecordBatch, bytes | None]  # a message as gRPC takes it


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
        self._uploads = Uploads(archive)

    def drain(self) -> None:
        """Take no new calls from now on; those under way go on."""
        self._draining.set()

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
        caller = call.caller()
        query = self._tickets.read(ticket.ticket, caller, time.time())
        opened = self._streams.stream(query.plan)
        gone = caller.cancelled
        answer = self._archive.answer(query, replace(caller, cancelled=lambda: opened.cancelled or gone()))
        stream = guarded_stream(_sent(answer.messages, call, opened))
        # calls into a stream cost more than the work that a small answer is, so what is quick is done here
        ready = _first(stream, 2 if len(query.ids or ()) == 1 else 1)
        return fl.GeneratorStream(answer.schema, chain(ready, stream), options=ipc_options(query))

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
            with ExitStack() as held:
                try:
                    conversation = self._conversation(descriptor, reader, writer, call, held)
                except Exception as error:
                    refuse(reader, writer, to_domain(error))
                    raise
                conversation.run()
        finally:
            call.end()

    def _conversation(
        self,
        descriptor: fl.FlightDescriptor,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.MetadataRecordBatchWriter,
        call: Call,
        held: ExitStack,
    ) -> Conversation:
        """Begin an exchange, which is among the streams while `held` is."""
        self._check_open()
        _check_command(descriptor)
        query = parse_exchange(descriptor.command, self._settings.tickets.max_bytes)
        opened = self._streams.stream(query.plan)
        caller = call.caller()
        gone = caller.cancelled
        waiting = replace(caller, cancelled=lambda: opened.cancelled or gone())
        exchange = self._archive.exchange(query, _sent_schema(reader), waiting)
        held.enter_context(opened)

        def check() -> None:
            opened.check()
            if gone():
                raise StreamCancelled("the caller went away")

        return Conversation(reader, writer, exchange, self._settings.limits.stall_seconds, check)

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


def _sent_schema(reader: fl.MetadataRecordBatchReader) -> pa.Schema:
    try:
        return reader.schema
    except (pa.ArrowException, StopIteration, OSError) as error:
        message = "nothing was sent that could be asked for: send batches with a column id, or ra, dec and radius"
        raise InvalidTicket(message, field="columns") from error


def _table_name(descriptor: fl.FlightDescriptor) -> str:
    if len(descriptor.path) != 1:
        raise BadValue("a path has one element, the table's name", field="path", value=len(descriptor.path))
    try:
        return str(descriptor.path[0].decode())
    except UnicodeDecodeError:
        raise BadValue("the path is not UTF-8 text", field="path") from None


def _sent(messages: Iterator[Message], call: Call, opened: Stream) -> Iterator[Sent]:
    """Give the messages of an answer as they are sent, until they end or their plan is cancelled."""
    try:
        with opened:
            for message in messages:
                opened.check()
                yield message.batch, encode_metadata(message)
    except StreamCancelled:
        opened.check()  # who waits for a store hears only that nobody waits for him any more
        raise
    finally:
        call.end()


def _first(stream: Iterator[Sent], most: int) -> list[Sent]:
    """Take the first messages, but none behind one that says nothing: that one is to keep the stream and leaves at once."""
    taken: list[Sent] = []
    for message in stream:
        taken.append(message)
        if message[1] is None or len(taken) == most:
            break
    return taken
