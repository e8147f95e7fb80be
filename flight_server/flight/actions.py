"""The actions: small questions about the server, answered as JSON."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from flight_server import __version__
from flight_server.archive import Archive

__all__ = ["ACTIONS", "run_action"]


def server_info(archive: Archive) -> dict[str, Any]:
    """Say what the server is: name, versions, surveys."""
    return {
        "name": "alertflight",
        "version": __version__,
        "arrow": pa.__version__,
        "python": platform.python_version(),
        "store": archive.store,
        "surveys": sorted({table.survey for table in archive.catalogue().tables.values()}),
    }


def health(archive: Archive) -> dict[str, Any]:
    """Say whether the server serves, the state of each table, and the cells that answers leave out, by column."""
    faults = archive.faults()
    return {
        "status": "serving",
        "tables": dict.fromkeys(archive.states(), "ok") | {name: fault.code for name, fault in faults.items()},
        "faults": {name: fault.message for name, fault in faults.items()},
        "left_out": archive.left_out(),
    }


def refresh_schema(archive: Archive) -> dict[str, Any]:
    """Look again for what the tables hold, and say it as `health` does."""
    archive.refresh()
    return health(archive)


def tables(archive: Archive) -> dict[str, Any]:
    """List the tables with what they hold: rows, bytes, time span, last write, columns."""
    catalogue = archive.catalogue()
    found = catalogue.tables
    return {
        name: {
            "description": found[name].description,
            **asdict(state),
            "time": found[name].time,
            "columns": len(catalogue.stored_columns(found[name])),
        }
        for name, state in archive.states().items()
    }


ACTIONS: Mapping[str, Callable[[Archive], dict[str, Any]]] = {
    "server-info": server_info,
    "health": health,
    "tables": tables,
    "refresh-schema": refresh_schema,
}


def run_action(name: str, archive: Archive) -> dict[str, Any]:
    """Run one of `ACTIONS`."""
    return ACTIONS[name](archive)
