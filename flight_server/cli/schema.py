"""The command `schema`: lists the columns of a table."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from flight_client.calls import act
from flight_client.options import chosen_server, server_or_store_options
from flight_client.output import write_csv
from flight_server.cli.options import store_options
from flight_server.planning.descriptions import describe
from flight_server.service.process import open_archive
from flight_server.settings import load_settings

__all__ = ["schema"]

HEAD = ("name", "type", "unit", "origin", "description")
FILE_HEAD = ("name", "type", "unit", "ucd", "description", "origin", "made_of", "over", "with", "time_scale", "time_reference")
LEAST_WIDTH = 20  # of descriptions: narrower ones are hard to read
Columns = list[dict[str, Any]]


@click.command()
@click.argument("table", metavar="TABLE")
@server_or_store_options
@store_options
@click.option(
    "--format", "format_", type=click.Choice(["table", "csv", "json"]), help="By default table on a terminal, csv in a pipe."
)
def schema(table: str, url: str | None, profile: str | None, data: str | None, config: Path | None, format_: str | None) -> None:
    """List the columns of a table. Each has type, unit, origin and description; cutouts and derived columns are included.

    \b
    alertflight schema ztf
    alertflight schema ztf --format csv > columns.csv
    """  # noqa: D301  (click wants the backspace itself)
    server = chosen_server(url, profile, data, config)
    columns = _of_store(table, data, config) if server is None else act(server, "schema", json.dumps({"table": table}))
    chosen = format_ or ("table" if sys.stdout.isatty() else "csv")
    if chosen == "json":
        click.echo(json.dumps(columns, indent=1, ensure_ascii=False))
    elif chosen == "csv":
        cells = {name: pa.array([_cell(column.get(name, "")) for column in columns], pa.string()) for name in FILE_HEAD}
        batch = pa.RecordBatch.from_pydict(cells)
        write_csv(batch.schema, [batch])
    else:
        click.echo(laid_out(columns, shutil.get_terminal_size().columns))


def _of_store(table: str, data: str | None, config: Path | None) -> Columns:
    archive, store = open_archive(load_settings(config, data=data))
    try:
        found = archive.served_table(table)
        return describe(archive.catalog(), found)
    finally:
        store.close()


def laid_out(columns: Columns, width: int) -> str:
    """Format columns for a terminal, with descriptions wrapped over several lines.

    >>> words = {"name": "i:jd", "type": "double", "unit": "d", "origin": "survey", "description": "Julian date"}
    >>> print(laid_out([words], 80))
    name  type    unit  origin  description
    i:jd  double  d     survey  Julian date
    """
    rows = [HEAD, *((*(str(column[name]) for name in HEAD[:-1]), _meaning(column)) for column in columns)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD) - 1)]
    room = max(width - sum(widths) - 2 * len(widths), LEAST_WIDTH)
    lines = []
    for row in rows:
        front = [cell.ljust(size) for cell, size in zip(row, widths, strict=False)]
        for number, part in enumerate(textwrap.wrap(row[-1], room, break_on_hyphens=False) or [""]):
            cells = front if number == 0 else [" " * size for size in widths]
            lines.append("  ".join([*cells, part]).rstrip())
    return "\n".join(lines)


def _meaning(column: dict[str, Any]) -> str:
    """Return the description of a column, with its inputs and the ticket fields that it needs."""
    said = [column["description"]]
    if "made_of" in column:
        rows = "of all rows of an object" if column["over"] == "object" else "of each row"
        said.append(f"from {', '.join(column['made_of'])} {rows}")
    if "with" in column:
        said.append(f"needs {', '.join(column['with'])} in the ticket")
    return "; ".join(said)


def _cell(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)
