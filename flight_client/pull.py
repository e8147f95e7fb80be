"""The command `pull`: writes an answer of any size to a folder of Parquet files."""

from __future__ import annotations

import json
from pathlib import Path

import click
from alertflight_config import DEFAULT_TABLE

from flight_client.endpoints import MAX_QUERY_BYTES
from flight_client.id_lists import read_ids
from flight_client.options import server_options, split_option
from flight_client.profiles import find_profile
from flight_client.pull_files import MISSING, OBJECTS_A_FILE, pull_into
from flight_server.protocol.errors import NoSelection
from flight_server.protocol.query import CUTOUT_FORMATS, CUTOUT_KINDS, CUTOUT_PLANES, LAYOUTS
from flight_server.protocol.ticket_json import parse_ticket

__all__ = ["pull"]

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@server_options
@click.option("--table", default=DEFAULT_TABLE, show_default=True, help="The table.")
@click.option("--ids-file", type=FILE, metavar="FILE", help="Object IDs, one per line, or a CSV or Parquet file.")
@click.option("--ids-column", metavar="NAME", help="The column of the IDs; its number, from 1, if the file has no header.")
@click.option("--all", "everything", is_flag=True, help="The whole table.")
@click.option("--columns", multiple=True, callback=split_option, metavar="NAME,...", help="Columns; by default all stored ones.")
@click.option("--cutouts", multiple=True, callback=split_option, metavar="KIND,...", help=f"Cutouts: {', '.join(CUTOUT_KINDS)}.")
@click.option(
    "--cutout-planes", multiple=True, callback=split_option, metavar="PLANE,...", help=f"Of pixels: {', '.join(CUTOUT_PLANES)}."
)
@click.option("--cutout-format", type=click.Choice(CUTOUT_FORMATS), help="Cutouts as stored, as plain FITS, or as pixels.")
@click.option("--layout", type=click.Choice(LAYOUTS), help="One row per alert, or one row per object.")
@click.option("--start", metavar="TIME", help="Earliest time, included: a date (UTC), JD or MJD.")
@click.option("--stop", metavar="TIME", help="Latest time, excluded.")
@click.option("--upper-limits", is_flag=True, help="Add upper limits and bad points, marked in d:tag.")
@click.option("--forced", is_flag=True, help="Add forced photometry, marked in r:tag.")
@click.option("--objects-per-file", type=click.IntRange(1), default=OBJECTS_A_FILE, show_default=True, help="IDs per file.")
@click.option("-o", "--output", type=FOLDER, required=True, metavar="DIR", help="The output folder.")
def pull(  # noqa: PLR0917  (click passes its options by name)
    url: str | None,
    profile: str | None,
    table: str,
    ids_file: Path | None,
    ids_column: str | None,
    everything: bool,
    columns: list[str],
    cutouts: list[str],
    cutout_planes: list[str],
    cutout_format: str | None,
    layout: str | None,
    start: str | None,
    stop: str | None,
    upper_limits: bool,
    forced: bool,
    objects_per_file: int,
    output: Path,
) -> None:
    """Write rows to a folder of Parquet files. They are the rows of many objects, or of a whole table.

    Run the same command again to resume an interrupted pull.

    \b
    alertflight pull --ids-file ids.txt --columns i:objectId,i:jd,i:fid,i:magpsf -o curves
    """  # noqa: D301  (click wants the backspace itself)
    if ids_column is not None and ids_file is None:
        raise click.UsageError("--ids-column needs --ids-file")
    listed = None if ids_file is None else read_ids(ids_file, ids_column)
    if listed is not None and listed.remark is not None:
        click.echo(listed.remark, err=True)
    fields = {
        "table": table,
        "ids": None if listed is None else listed.ids,
        "all": everything,
        "columns": columns,
        "cutouts": cutouts,
        "cutout_planes": cutout_planes,
        "cutout_format": cutout_format,
        "layout": layout,
        "start": start,
        "stop": stop,
        "upper_limits": upper_limits,
        "forced": forced,
    }
    given = {name: value for name, value in fields.items() if value is not None and value is not False and value != []}
    if "ids" not in given and not everything:
        raise NoSelection("select rows with --ids-file or --all", field="ids")
    query = parse_ticket(json.dumps(given).encode(), MAX_QUERY_BYTES)
    pulled = pull_into(output, find_profile(url, profile).url, query, objects=objects_per_file)
    files = f"{len(pulled.parts)} file{'' if len(pulled.parts) == 1 else 's'}"
    objects = "" if pulled.objects is None else f" of {pulled.objects} objects"
    there = f", {pulled.held} of them written before" if pulled.held else ""
    click.echo(f"{pulled.rows} rows{objects} in {files} in {output}{there}")
    if pulled.missing:
        click.echo(f"no rows for {pulled.missing} of the IDs, listed in {output / MISSING}", err=True)
