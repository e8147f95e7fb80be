"""The actions of do_action: information as JSON, and CancelFlightInfo of the Flight protocol."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
from alertflight_config import DEFAULT_TABLE

from flight_server import __version__
from flight_server.execution.archive import Archive
from flight_server.execution.estimates import estimate
from flight_server.flight.cancellation import cancel_plan
from flight_server.planning.descriptions import describe, describe_tables
from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import BadValue
from flight_server.security.tickets import TicketOffice
from flight_server.service.streams import Streams

__all__ = ["ACTIONS", "ActionRequest", "run_action"]

Json = dict[str, Any] | list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """One action request: its body, its caller, whether the server is draining, and parts of the server."""

    body: bytes
    caller: Caller
    draining: bool
    archive: Archive
    tickets: TicketOffice
    streams: Streams


def server_info(request: ActionRequest) -> dict[str, Any]:
    """Return the name, versions, store and surveys of the server."""
    return {
        "name": "alertflight",
        "version": __version__,
        "arrow": pa.__version__,
        "python": platform.python_version(),
        "store": request.archive.store,
        "surveys": sorted({table.survey for table in request.archive.catalog().tables.values()}),
    }


def health(request: ActionRequest) -> dict[str, Any]:
    """Return the server's status, the state of each table, what its answers leave out, and the services that are down."""
    outages = request.archive.outages()
    absent = request.archive.absent_surveys()
    faults = request.archive.faults()
    for outage in outages:
        if outage.rows:
            lost = (outage.table,) if outage.table else request.archive.states()
            faults |= dict.fromkeys(lost, outage.error())
    tables = request.archive.catalog().tables
    return {
        "status": "draining" if request.draining else "serving",
        "tables": dict.fromkeys(request.archive.states(), "ok") | {name: fault.code for name, fault in faults.items()},
        "faults": {name: fault.message for name, fault in faults.items() if tables[name].survey not in absent},
        "absent_surveys": list(absent),
        "refused_columns": request.archive.refused_columns(),
        "left_out": request.archive.left_out(),
        "outages": [{"service": outage.service, "address": outage.address, "message": outage.message} for outage in outages],
    }


def refresh_schema(request: ActionRequest) -> dict[str, Any]:
    """Read the columns of the tables from the store again, and return `health`."""
    request.archive.refresh()
    return health(request)


def tables(request: ActionRequest) -> dict[str, Any]:
    """Return the contents and selections of each table; see `describe_tables`."""
    refused = request.archive.refused()
    return describe_tables(request.archive.catalog(), request.archive.states(), refused)


def schema(request: ActionRequest) -> list[dict[str, Any]]:
    """Describe all columns of the table named in the body: type, unit, UCD, meaning, origin, inputs of derived columns."""
    table = request.archive.served_table(_table_name(request.body))
    return describe(request.archive.catalog(), table)


def _table_name(body: bytes) -> str:
    """Read the name of a table: plain text, or a JSON object with the field `table`."""
    wanted = f'the body of schema is the name of a table, such as {DEFAULT_TABLE} or {{"table": "{DEFAULT_TABLE}"}}'
    try:
        text = body.decode().strip()
        words = json.loads(text) if text.startswith("{") else {"table": text}
    except (ValueError, RecursionError):
        raise BadValue(f"{wanted}; this one is neither", field="body") from None
    if set(words) != {"table"} or not isinstance(words["table"], str) or not words["table"]:
        raise BadValue(f"{wanted}; this one has {', '.join(words)[:80]}", field="body", value=text[:80])
    return str(words["table"])


def estimate_answer(request: ActionRequest) -> dict[str, Any]:
    """Estimate the answer to the ticket in the body: rows, objects, endpoints, bytes, columns. Reads a sample of the rows."""
    query = request.tickets.read(request.body, request.caller, time.time())
    return asdict(estimate(request.archive, query, request.caller))


def exchange_ticket(request: ActionRequest) -> bytes:
    """Return the command of a do_exchange in the body as a ticket, signed if the server has keys."""
    now = time.time()
    query = request.tickets.read_exchange(request.body, request.caller, now, planned=False)
    request.archive.check_exchange(query, request.caller)
    return request.tickets.issue(query, request.caller, now).ticket


def cancel_flight_info(request: ActionRequest) -> bytes:
    """End the streams of a plan and refuse its tickets from now on. The body is a CancelFlightInfoRequest."""
    return cancel_plan(request.body, request.caller, request.tickets, request.streams, time.time())


ACTIONS: Mapping[str, Callable[[ActionRequest], Json | bytes]] = {
    "server-info": server_info,
    "health": health,
    "tables": tables,
    "schema": schema,
    "refresh-schema": refresh_schema,
    "estimate": estimate_answer,
    "exchange-ticket": exchange_ticket,
    "CancelFlightInfo": cancel_flight_info,
}


def run_action(name: str, request: ActionRequest) -> bytes:
    """Run one of `ACTIONS` and return its result as bytes; most actions ignore the body."""
    result = ACTIONS[name](request)
    return result if isinstance(result, bytes) else json.dumps(result).encode()
