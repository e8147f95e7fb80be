"""The command `tables`: lists the tables of an archive and their content."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from flight_client.calls import act
from flight_client.options import chosen_server, server_or_store_options
from flight_server.cli.options import store_options
from flight_server.cli.text_columns import in_columns
from flight_server.planning.descriptions import describe_tables
from flight_server.service.process import open_archive
from flight_server.settings import load_settings

__all__ = ["laid_out", "refused_lines", "tables"]

HEAD = ("table", "rows", "columns", "MB", "time span", "asked by", "what")
NUMBERS = ("rows", "columns", "MB")
EXIT_DATA = 1
Tables = dict[str, dict[str, Any]]  # by name, as returned by the action `tables`
Faults = dict[str, str]  # why a table cannot be read, by its name
Refused = dict[str, dict[str, str]]  # why a column is not served, by table and name


@click.command()
@server_or_store_options
@store_options
def tables(url: str | None, profile: str | None, data: str | None, config: Path | None) -> None:
    """List the tables. Each has its rows, size, time span, and the ways to select rows.

    \b
    alertflight tables
    alertflight tables --url grpc://127.0.0.1:8815
    """  # noqa: D301  (click wants the backspace itself)
    server = chosen_server(url, profile, data, config)
    listed, faults, refused, absent = _of_store(data, config) if server is None else _of_server(server)
    click.echo(laid_out({name: table for name, table in listed.items() if table.get("survey") not in absent}))
    for survey in absent:
        click.echo(f"no table of {survey} is there")
    for line in refused_lines(refused):
        click.echo(line, err=True)
    for name, fault in faults.items():
        click.echo(f"{name} cannot be read: {fault}", err=True)
    if faults:
        sys.exit(EXIT_DATA)


def refused_lines(refused: Refused) -> Iterator[str]:
    """Yield a line for each column that is not served."""
    for name, columns in refused.items():
        yield from (f"{name} is served without {column}: {reason}" for column, reason in columns.items())


def _of_server(server: str) -> tuple[Tables, Faults, Refused, Sequence[str]]:
    health = act(server, "health")
    faults = {name: f"{health['tables'][name]}: {message}" for name, message in health["faults"].items()}
    return act(server, "tables"), faults, health["refused_columns"], health.get("absent_surveys", ())


def _of_store(data: str | None, config: Path | None) -> tuple[Tables, Faults, Refused, Sequence[str]]:
    archive, store = open_archive(load_settings(config, data=data))
    try:
        more = "; alertflight verify names the files" if archive.store == "embedded" else ""
        faults = {name: f"{fault.code}: {fault.message}{more}" for name, fault in archive.surprising_faults().items()}
        refused = archive.refused()
        listed = describe_tables(archive.catalog(), archive.states(), refused)
        return listed, faults, archive.refused_columns(), archive.absent_surveys()
    finally:
        store.close()


def laid_out(listed: Tables) -> str:
    """Format the result of the action `tables`, one line per table; of several surveys not those that are empty.

    >>> table = {"rows": 2_500, "columns": 3, "bytes": None, "first": 2458789.02608, "last": 2460840.98633}
    >>> print(laid_out({"ztf": table | {"selections": ["ids", "all"], "description": "one row per alert"}}))
    table  rows  columns  MB  time span                     asked by  what
    ztf    2500        3   ?  2458789.0261 .. 2460840.9863  ids, all  one row per alert
    """
    held = {table.get("survey") for table in listed.values() if table["rows"] != 0}
    shown = [_cells(name, table) for name, table in listed.items() if not held or table.get("survey") in held]
    empty = Counter(table["survey"] for table in listed.values() if held and table.get("survey") not in held)
    lines = [f"all {count} tables of {survey} are empty" for survey, count in empty.items()]
    return "\n".join([in_columns([HEAD, *shown], NUMBERS), *lines])


def _cells(name: str, table: dict[str, Any]) -> tuple[str, ...]:
    first, last = table["first"], table["last"]
    span = f"{first:.4f} .. {last:.4f}" if first is not None and last is not None else ""
    rows = "?" if table["rows"] is None else f"{table['rows']}"
    size = "?" if table["bytes"] is None else f"{table['bytes'] / 1e6:.1f}"
    return name, rows, f"{table['columns']}", size, span, ", ".join(table["selections"]), table["description"]
