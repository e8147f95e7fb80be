"""The actions: small questions to the server, answered as JSON, and what Flight itself defines."""

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

__all__ = ["ACTIONS", "Asked", "run_action"]

Json = dict[str, Any] | list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an action works on: its body, who asks, whether the server is about to stop, and what the server has."""

    body: bytes
    caller: Caller
    draining: bool
    archive: Archive
    tickets: TicketOffice
    streams: Streams


def server_info(asked: Asked) -> dict[str, Any]:
    """Say what the server is: name, versions, surveys."""
    return {
        "name": "alertflight",
        "version": __version__,
        "arrow": pa.__version__,
        "python": platform.python_version(),
        "store": asked.archive.store,
        "surveys": sorted({table.survey for table in asked.archive.catalog().tables.values()}),
    }


def health(asked: Asked) -> dict[str, Any]:
    """Say whether the server serves, the state of each table, and the cells that answers leave out, by column."""
    faults = asked.archive.faults()
    return {
        "status": "draining" if asked.draining else "serving",
        "tables": dict.fromkeys(asked.archive.states(), "ok") | {name: fault.code for name, fault in faults.items()},
        "faults": {name: fault.message for name, fault in faults.items()},
        "left_out": asked.archive.left_out(),
    }


def refresh_schema(asked: Asked) -> dict[str, Any]:
    """Look again for what the tables hold, and say it as `health` does."""
    asked.archive.refresh()
    return health(asked)


def tables(asked: Asked) -> dict[str, Any]:
    """Return what each table holds and how it can be asked; see `describe_tables`."""
    return describe_tables(asked.archive.catalog(), asked.archive.states())


def schema(asked: Asked) -> list[dict[str, Any]]:
    """Describe all columns of the table that the body names: type, unit, UCD, meaning, origin, what it is made of."""
    catalog = asked.archive.catalog()
    return describe(catalog, catalog.table(_table_name(asked.body)))


def _table_name(body: bytes) -> str:
    """Read the name of a table: the text itself, or JSON with it as `table`."""
    wanted = f'the body of schema is the name of a table, such as {DEFAULT_TABLE} or {{"table": "{DEFAULT_TABLE}"}}'
    try:
        text = body.decode().strip()
        words = json.loads(text) if text.startswith("{") else {"table": text}
    except (ValueError, RecursionError):
        raise BadValue(f"{wanted}; this one is neither", field="body") from None
    if set(words) != {"table"} or not isinstance(words["table"], str) or not words["table"]:
        raise BadValue(f"{wanted}; this one has {', '.join(words)[:80]}", field="body", value=text[:80])
    return str(words["table"])


def estimate_answer(asked: Asked) -> dict[str, Any]:
    """Estimate the answer to the ticket in the body: rows, objects, endpoints, bytes, columns; reads a few rows."""
    query = asked.tickets.read(asked.body, asked.caller, time.time(), planned=False)
    return asdict(estimate(asked.archive, query, asked.caller))


def cancel_flight_info(asked: Asked) -> bytes:
    """End the streams of a plan, and refuse its tickets from now on: the body is a CancelFlightInfoRequest."""
    return cancel_plan(asked.body, asked.caller, asked.tickets, asked.streams, time.time())


ACTIONS: Mapping[str, Callable[[Asked], Json | bytes]] = {
    "server-info": server_info,
    "health": health,
    "tables": tables,
    "schema": schema,
    "refresh-schema": refresh_schema,
    "estimate": estimate_answer,
    "CancelFlightInfo": cancel_flight_info,
}


def run_action(name: str, asked: Asked) -> bytes:
    """Run one of `ACTIONS`, and give its result as it travels; most of them take no notice of the body."""
    result = ACTIONS[name](asked)
    return result if isinstance(result, bytes) else json.dumps(result).encode()
