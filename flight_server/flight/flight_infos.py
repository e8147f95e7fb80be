"""FlightInfos: plans of queries with their endpoints, and descriptions of tables."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.execution.archive import Archive
from flight_server.flight.descriptors import check_command, is_path, table_name
from flight_server.planning.plan import Plan
from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import TooLarge
from flight_server.protocol.query import Query
from flight_server.protocol.ticket_json import parse_ticket
from flight_server.security.tickets import TicketOffice
from flight_server.settings import Settings

__all__ = ["FlightInfos"]

MOST_IDS = 20_000  # of one plan
INFO_BYTES = 3_500_000  # of one serialized plan: clients in Go and Rust refuse messages of 4 MiB


class FlightInfos:
    """Factory of the FlightInfos and schemas of one server.

    Parameters
    ----------
    archive
        Plans queries and describes tables.
    tickets
        Issues the tickets of endpoints.
    settings
        The size limit of tickets, and the locations of endpoints.
    """

    def __init__(self, archive: Archive, tickets: TicketOffice, settings: Settings) -> None:
        self._archive = archive
        self._tickets = tickets
        self._max_bytes = settings.tickets.max_bytes
        self._locations = settings.server.locations

    def tables(self, caller: Caller) -> list[fl.FlightInfo]:
        """Return the FlightInfo of each table that is served."""
        refused = self._archive.refused()
        return [self._table_info(name, caller) for name in self._archive.catalog().tables if name not in refused]

    def info(self, descriptor: fl.FlightDescriptor, caller: Caller) -> fl.FlightInfo:
        """Plan a query (command) or describe a table (path)."""
        if is_path(descriptor):
            return self._table_info(table_name(descriptor), caller)
        return self._plan_info(self._plan(descriptor, caller), descriptor, caller)

    def schema(self, descriptor: fl.FlightDescriptor, caller: Caller) -> pa.Schema:
        """Return the schema of a query (command) or table (path)."""
        if is_path(descriptor):
            return self._table_schema(table_name(descriptor))
        return self._plan(descriptor, caller).schema

    def _plan(self, descriptor: fl.FlightDescriptor, caller: Caller) -> Plan:
        check_command(descriptor)
        return self._archive.plan(parse_ticket(descriptor.command, self._max_bytes), caller)

    def _plan_info(self, plan: Plan, descriptor: fl.FlightDescriptor, caller: Caller) -> fl.FlightInfo:
        """Return the FlightInfo of a plan; halve the number of its endpoints until it fits in a message."""
        ids = len(plan.ids or ())
        if ids > MOST_IDS:
            counted = (plan.query.limit, plan.query.limit_objects, plan.query.resume_after) != (None, None, None)
            instead = "send the ticket to do_get" if counted else "use do_exchange"  # an exchange counts no rows
            message = f"a plan has at most {MOST_IDS:,} IDs, not {ids:,}: make several plans, or {instead}"
            raise TooLarge(message, field="ids", value=ids)
        count = self._archive.count(plan)
        # the parts of a list share its IDs, but those of a table each have the whole ticket
        most = None if plan.ids is not None else max(1, INFO_BYTES // len(plan.query.to_json()))
        while True:
            parts, ordered = self._archive.endpoints(plan, most)
            endpoints = self._endpoints(parts, caller)
            info = fl.FlightInfo(plan.schema, descriptor, endpoints, -1 if count is None else count, -1, ordered=ordered)
            if len(parts) == 1 or len(info.serialize()) <= INFO_BYTES:
                return info
            most = len(parts) // 2

    def _endpoints(self, parts: Sequence[Query], caller: Caller) -> list[fl.FlightEndpoint]:
        """Return the endpoints of one plan; they share its name, so that they can be cancelled together."""
        name = uuid4().hex[:16]
        named = (replace(part, plan=part.plan or name) for part in parts)
        return [self._endpoint(part, caller, number) for number, part in enumerate(named)]

    def _endpoint(self, query: Query, caller: Caller, number: int) -> fl.FlightEndpoint:
        """Return the endpoint of a query, with a ticket that is signed for the caller if there are keys.

        Any location can answer it. The first one depends on the number of the endpoint, so that clients that always use the
        first location are spread over all of them.
        """
        turn = number % len(self._locations) if self._locations else 0
        locations = [*self._locations[turn:], *self._locations[:turn]]
        issued = self._tickets.issue(query, caller, time.time())
        expires = None if issued.expires is None else pa.scalar(issued.expires * 10**9, pa.timestamp("ns", "UTC"))
        return fl.FlightEndpoint(issued.ticket, locations, expires)

    def _table_schema(self, name: str) -> pa.Schema:
        table = self._archive.served_table(name)
        catalog = self._archive.catalog()
        return pa.schema([column.field() for column in catalog.stored_columns(table).values()])

    def _table_info(self, name: str, caller: Caller) -> fl.FlightInfo:
        """Return the FlightInfo of a table, with one endpoint that is the whole table."""
        schema = self._table_schema(name)
        state = self._archive.states()[name]
        totals = (-1 if count is None else count for count in (state.rows, state.bytes))
        endpoints = self._endpoints([Query(table=name, all=True)], caller)
        return fl.FlightInfo(schema, fl.FlightDescriptor.for_path(name), endpoints, *totals, ordered=True)
