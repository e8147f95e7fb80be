"""The client's commands."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import pyarrow as pa
from alertflight_config import DEFAULT_TABLE

from flight_client.options import server_options, split_option
from flight_client.output import show, write_csv, write_file
from flight_client.profiles import find_profile
from flight_client.stream import Stream
from flight_server.protocol.query import CUTOUT_FORMATS, CUTOUT_KINDS, CUTOUT_PLANES
from flight_server.protocol.ticket_json import parse_ticket

__all__ = ["get"]

SHOWN_MISSING = 5


@click.command()
@server_options
@click.option("--table", default=DEFAULT_TABLE, show_default=True, help="The table.")
@click.option("--ids", multiple=True, callback=split_option, metavar="ID,...", help="Object IDs, separated by commas.")
@click.option("--cone", type=float, nargs=3, metavar="RA DEC RADIUS", help="A cone on the sky: degrees, degrees, arcsec.")
@click.option("--class", "class_", metavar="NAME", help="A class, newest alerts first; from a table kept by class.")
@click.option("--tag", metavar="NAME", help="A tag, newest alerts first; from a table with tags.")
@click.option("--sso", metavar="NAME", help="A solar system object; from a table kept by it.")
@click.option("--tracklet", metavar="NAME", help="A tracklet name, or its beginning; from a table kept by it.")
@click.option("--name", metavar="NAME", help="A name, or its beginning; from a table of names.")
@click.option("--night", metavar="YYYYMMDD", help="A night, or its beginning; from a table kept by night.")
@click.option("--skymap", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A probability map (FITS).")
@click.option(
    "--credible-level", type=float, default=0.9, show_default=True, help="The credible level of the region of --skymap."
)
@click.option("--all", "everything", is_flag=True, help="The whole table.")
@click.option("--columns", multiple=True, callback=split_option, metavar="NAME,...", help="Columns; by default all stored ones.")
@click.option("--cutouts", multiple=True, callback=split_option, metavar="KIND,...", help=f"Cutouts: {', '.join(CUTOUT_KINDS)}.")
@click.option(
    "--cutout-planes", multiple=True, callback=split_option, metavar="PLANE,...", help=f"Of pixels: {', '.join(CUTOUT_PLANES)}."
)
@click.option("--cutout-format", type=click.Choice(CUTOUT_FORMATS), help="Cutouts as stored, as plain FITS, or as pixels.")
@click.option("--start", metavar="TIME", help="Earliest time, included: a date (UTC), JD or MJD.")
@click.option("--stop", metavar="TIME", help="Latest time, excluded.")
@click.option("--as-of", metavar="TIME", help="The state of the archive at this time.")
@click.option("--limit", type=click.IntRange(1), help="At most this many rows.")
@click.option("--limit-objects", type=click.IntRange(1), help="At most this many objects.")
@click.option("--upper-limits", is_flag=True, help="Add upper limits and bad points, marked in d:tag.")
@click.option("--forced", is_flag=True, help="Add forced photometry, marked in r:tag.")
@click.option(
    "-o", "--output", default="-", metavar="FILE", help="FILE.parquet, .csv, .arrow or .vot; - prints a table or, in a pipe, CSV."
)
def get(  # noqa: PLR0917  (click passes its options by name)
    url: str | None,
    profile: str | None,
    table: str,
    ids: list[str],
    cone: tuple[float, float, float] | None,
    class_: str | None,
    tag: str | None,
    sso: str | None,
    tracklet: str | None,
    name: str | None,
    night: str | None,
    skymap: Path | None,
    credible_level: float,
    everything: bool,
    columns: list[str],
    cutouts: list[str],
    cutout_planes: list[str],
    cutout_format: str | None,
    start: str | None,
    stop: str | None,
    as_of: str | None,
    limit: int | None,
    limit_objects: int | None,
    upper_limits: bool,
    forced: bool,
    output: str,
) -> None:
    """Get rows of a table. Light curves by object ID or position, lists by class or time, with any columns and cutouts.

    \b
    alertflight get --ids ZTF20abfcszi --columns i:jd,i:fid,i:magpsf,i:sigmapsf
    alertflight get --ids ZTF20abfcszi --cutouts Science -o cutouts.parquet
    alertflight get --cone 285 43 60 --columns i:objectId,i:jd,v:separation_degree
    alertflight get --table ztf.class --class "SN candidate" --limit 10
    """  # noqa: D301  (click wants the backspace itself)
    import json

    fields = {
        "table": table,
        "ids": ids,
        "cone": None if cone is None else dict(zip(("ra", "dec", "radius"), cone, strict=True)),
        "class": class_,
        "tag": tag,
        "sso": sso,
        "tracklet": tracklet,
        "name": name,
        "night": night,
        "skymap": None if skymap is None else _ranges(skymap, credible_level),
        "all": everything,
        "columns": columns,
        "cutouts": cutouts,
        "cutout_planes": cutout_planes,
        "cutout_format": cutout_format,
        "start": start,
        "stop": stop,
        "as_of": as_of,
        "limit": limit,
        "limit_objects": limit_objects,
        "upper_limits": upper_limits,
        "forced": forced,
    }
    given = {name: value for name, value in fields.items() if value is not None and value is not False and value != []}
    query = parse_ticket(json.dumps(given).encode())
    stream = Stream(find_profile(url, profile).url, query)
    batches = _counted(stream)
    if output != "-":
        write_file(Path(output), stream.schema, batches)
        click.echo(f"{stream.record['rows']} rows of {stream.record['objects']} objects in {output}", err=True)
    elif sys.stdout.isatty():
        click.echo(show(stream.schema, batches))
    else:
        write_csv(stream.schema, batches)
    stream.close()
    _warn(stream, [f"--{name.replace('_', '-')}" for name in ("limit", "limit_objects") if name in given])


def _ranges(skymap: Path, level: float) -> dict[str, object]:
    from flight_client.skymaps import read_skymap

    return read_skymap(skymap, level)


def _counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the batches unchanged, and show the number of rows on a terminal."""
    rows = 0
    shown = False
    for batch in batches:
        if sys.stderr.isatty() and rows:
            click.echo(f"\r{rows:,} rows", nl=False, err=True)
            shown = True
        rows += len(batch)
        yield batch
    if shown:
        click.echo("\r" + " " * 30 + "\r", nl=False, err=True)


def _warn(stream: Stream, limits: list[str]) -> None:
    missing = [str(value) for value in stream.missing_ids]
    if missing:
        shown = ", ".join(missing[:SHOWN_MISSING]) + (", ..." if len(missing) > SHOWN_MISSING else "")
        click.echo(f"no rows for {len(missing)} of the IDs: {shown}", err=True)
    if not stream.record["complete"]:
        click.echo(f"more rows match; raise {' or '.join(limits)} or leave it out", err=True)
    if stream.record["missing_cutouts"]:
        click.echo(f"{stream.record['missing_cutouts']} cutouts are not in the archive", err=True)
    for reason, count in stream.record["cutout_errors"].items():
        click.echo(f"{count} cutouts could not be read: {reason}", err=True)
