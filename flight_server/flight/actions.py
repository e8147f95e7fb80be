"""The actions: small questions about the server, answered as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from flight_server import __version__
from flight_server.archive import Archive
from flight_server.choosing import ways
from flight_server.described import describe
from flight_server.errors import BadValue

__all__ = ["ACTIONS", "run_action"]


def server_info(archive: Archive, _body: bytes = b"") -> dict[str, Any]:
    """Say what the server is: name, versions, surveys."""
    return {
        "name": "alertflight",
        "version": __version__,
        "arrow": pa.__version__,
        "python": platform.python_version(),
        "store": archive.store,
        "surveys": sorted({table.survey for table in archive.catalogue().tables.values()}),
    }


def health(archive: Archive, _body: bytes = b"") -> dict[str, Any]:
    """Say whether the server serves, the state of each table, and the cells that answers leave out, by column."""
    faults = archive.faults()
    return {
        "status": "serving",
        "tables": dict.fromkeys(archive.states(), "ok") | {name: fault.code for name, fault in faults.items()},
        "faults": {name: fault.message for name, fault in faults.items()},
        "left_out": archive.left_out(),
    }


def refresh_schema(archive: Archive, _body: bytes = b"") -> dict[str, Any]:
    """Look again for what the tables hold, and say it as `health` does."""
    archive.refresh()
    return health(archive)


def tables(archive: Archive, _body: bytes = b"") -> dict[str, Any]:
    """List the tables with what they hold: rows, bytes, time span, last write, columns; and how each can be asked."""
    catalogue = archive.catalogue()
    found = catalogue.tables
    return {
        name: {
            "description": found[name].description,
            **asdict(state),
            "time": found[name].time,
            "columns": len(catalogue.stored_columns(found[name])),
            "selections": list(ways(found[name])),
        }
        for name, state in archive.states().items()
    }


def schema(archive: Archive, body: bytes) -> list[dict[str, Any]]:
    """Describe all columns of the table that the body names: type, unit, UCD, meaning, origin, what it is made of."""
    catalogue = archive.catalogue()
    return describe(catalogue, catalogue.table(_table_name(body)))


def _table_name(body: bytes) -> str:
    """Read the name of a table: the text itself, or JSON with it as `table`."""
    wanted = 'the body of schema is the name of a table, such as ztf or {"table": "ztf"}'
    try:
        text = body.decode().strip()
        words = json.loads(text) if text.startswith("{") else {"table": text}
    except (ValueError, RecursionError):
        raise BadValue(f"{wanted}; this one is neither", field="body") from None
    if set(words) != {"table"} or not isinstance(words["table"], str) or not words["table"]:
        raise BadValue(f"{wanted}; this one has {', '.join(words)[:80]}", field="body", value=text[:80])
    return str(words["table"])


ACTIONS: Mapping[str, Callable[[Archive, bytes], dict[str, Any] | list[dict[str, Any]]]] = {
    "server-info": server_info,
    "health": health,
    "tables": tables,
    "schema": schema,
    "refresh-schema": refresh_schema,
}


def run_action(name: str, archive: Archive, body: bytes = b"") -> dict[str, Any] | list[dict[str, Any]]:
    """Run one of `ACTIONS`; most of them take no notice of the body."""
    return ACTIONS[name](archive, body)
