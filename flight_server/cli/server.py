"""The server process of the command `serve`."""

from __future__ import annotations

import json
import logging
from collections.abc import Container
from pathlib import Path

import click
from alertflight_config import DEFAULT_TABLE, EXAMPLE_COLUMNS

from flight_server.cli.tables import refused_lines
from flight_server.cli.welcome import example_id
from flight_server.execution.archive import Archive
from flight_server.flight.server import FlightServer, address
from flight_server.service.process import Door
from flight_server.service.process import serve as run
from flight_server.service.supervisor import Start
from flight_server.settings import load_settings

__all__ = ["run_server"]

log = logging.getLogger(__name__)


def run_server(
    start: Start, *, host: str | None, port: int | None, data: str | None, config: Path | None, wait: float = 0.0
) -> None:
    """Serve until SIGTERM; say on standard output what is served, unless this takes the place of a server that said it.

    `wait` is how long to wait for services behind the store, seconds.
    """
    settings = load_settings(config, data=data, host=host, port=port if start.port is None else start.port)

    def ready(server: Door, archive: Archive) -> None:
        url = address(settings.server.host, server.port)
        what = _contents(archive)
        start.report(server.port)
        if start.port is not None:
            log.warning("the server is ready again at %s", url)
            return
        for name, fault in archive.surprising_faults().items():
            click.echo(f"{name} is not served: {fault.message}")
        for survey in archive.absent_surveys():
            click.echo(f"no table of {survey} is there")
        for line in refused_lines(archive.refused_columns()):
            click.echo(line)
        click.echo(f"serving {what} from {settings.place}\nready {url}\n{_snippet(url, archive, archive.faults())}")

    run(settings, FlightServer, ready, wait)


def _contents(archive: Archive) -> str:
    """Return how many rows the table of alerts of each survey has, or "the tables" if the store would have to count them."""
    states = archive.states()
    tables = [survey.alerts.table for survey in archive.catalog().surveys.values()]
    counts = {table: states[table].rows for table in tables}
    if None in counts.values():
        return "the tables"
    return " and ".join(f"{count} rows of {name}" for name, count in counts.items() if count) or "no rows"


def _snippet(url: str, archive: Archive, faults: Container[str]) -> str:
    """Return a `do_get` to paste into Python, for an object in a table that is served."""
    tables = archive.catalog().tables
    served = [name for name in (DEFAULT_TABLE, *tables) if name not in faults]
    if not served:
        return "\nno table is served: check the settings, of a cluster hbase.prefix and hbase.tables"
    table = tables[served[0]]
    ticket: dict[str, object] = {"table": table.name}
    if table.by_object:
        columns = EXAMPLE_COLUMNS if table.name == DEFAULT_TABLE else (table.id,)
        ticket |= {"ids": [example_id(archive, table.name)], "columns": list(columns)}
    else:
        ticket |= {"all": True, "limit": 10}
    return f"""
Paste into Python (pip install pyarrow pandas):

import json, pandas as pd, pyarrow.flight as fl
ticket = {json.dumps(ticket)}
reader = fl.connect("{url}").do_get(fl.Ticket(json.dumps(ticket)))
print(reader.read_all().to_pandas(types_mapper=pd.ArrowDtype))
"""
