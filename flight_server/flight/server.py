"""The Flight server: the handlers of the RPCs."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.execution.archive import Archive
from flight_server.flight.actions import ACTIONS, ActionRequest, run_action
from flight_server.flight.calls import Call
from flight_server.flight.descriptors import check_command
from flight_server.flight.errors import guarded, to_domain
from flight_server.flight.exchange import Conversation, refuse
from flight_server.flight.flight_infos import FlightInfos
from flight_server.flight.reads import Reads
from flight_server.flight.uploads import Uploads
from flight_server.protocol.errors import Draining, NotSupported, StreamCancelled
from flight_server.security.tickets import TicketOffice
from flight_server.service.streams import Streams
from flight_server.settings import Settings

__all__ = ["FlightServer", "address"]


class FlightServer(fl.FlightServerBase):  # type: ignore[misc]
    """The Flight server of one archive.

    Parameters
    ----------
    archive
        The archive that answers queries.
    settings
        Address and limits. With port 0 a free port is used; the attribute `port` has it.
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
        self._infos = FlightInfos(archive, self._tickets, settings)
        self._reads = Reads(archive, self._streams, self._threads, stall_seconds)
        self._uploads = Uploads(archive, stall_seconds)

    def drain(self) -> None:
        """Refuse new calls from now on; running ones continue."""
        self._draining.set()

    def shutdown(self) -> None:
        """Stop the server when the running calls have ended."""
        super().shutdown()
        self._threads.shutdown(wait=False)

    @guarded
    def list_flights(self, context: fl.ServerCallContext, criteria: bytes) -> list[fl.FlightInfo]:
        """Return one FlightInfo per table: path, schema, totals and an endpoint."""
        self._check_open()
        if criteria:
            raise NotSupported("list_flights takes no criteria: it lists the tables", field="criteria")
        return self._infos.tables(Call(context).caller())

    @guarded
    def get_flight_info(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.FlightInfo:
        """Plan a query (command) or describe a table (path)."""
        self._check_open()
        return self._infos.info(descriptor, Call(context).caller())

    def get_schema(self, context: fl.ServerCallContext, descriptor: fl.FlightDescriptor) -> fl.SchemaResult:
        """Return the schema of a query or table; errors are in its metadata, since pyarrow loses exceptions raised here."""
        try:
            self._check_open()
            return fl.SchemaResult(self._infos.schema(descriptor, Call(context).caller()))
        except Exception as error:  # noqa: BLE001  (see above)
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
        """Run an action and return its one result."""
        if action.type not in ACTIONS:
            known = ", ".join(ACTIONS)
            raise NotSupported(f"there is no action {action.type!r:.60}; known are {known}", field="action", value=action.type)
        call, body = Call(context), action.body.to_pybytes()
        request = ActionRequest(body, call.caller(), self._draining.is_set(), self._archive, self._tickets, self._streams)
        try:
            return [fl.Result(pa.py_buffer(run_action(action.type, request)))]
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
        """Store an upload of alerts: all of it or nothing."""
        self._check_open()
        if self._settings.ingest.do_put != "allow":
            message = "this server accepts no uploads: use alertflight ingest, or set ingest.do_put to allow"
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
        """Answer a stream of IDs or cones, in order."""
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
        """Open a stream for an exchange and return it, not begun yet."""
        self._check_open()
        check_command(descriptor)
        query = self._tickets.read_exchange(descriptor.command, call.caller(), time.time())
        stream = self._streams.stream(query.plan)
        stream.open()
        caller = call.caller()
        gone = caller.cancelled
        waiting = replace(caller, cancelled=lambda: stream.cancelled or gone())

        def check() -> None:
            stream.check()
            if gone():
                raise StreamCancelled("the caller hung up")

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
            raise Draining("the server is shutting down: use another server, or retry later")


def address(host: str, port: int) -> str:
    """Return the URL of a server.

    >>> address("::1", 8815)
    'grpc://[::1]:8815'
    """
    return f"grpc://[{host}]:{port}" if ":" in host else f"grpc://{host}:{port}"
