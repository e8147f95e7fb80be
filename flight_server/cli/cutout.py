"""The command `cutout`: one cutout, in a file or on the terminal."""

from __future__ import annotations

import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
from alertflight_config import DEFAULT_TABLE

from flight_client.files import check_ending, whole_file
from flight_client.options import server_options
from flight_client.pictures import Image, drawn, write_png
from flight_client.profiles import find_profile
from flight_client.stream import Stream
from flight_server.cutouts.arrays import decode_one
from flight_server.protocol.errors import BadValue, CorruptData
from flight_server.protocol.query import CUTOUT_KINDS, Query

__all__ = ["cutout"]

ALERT, TIME = "i:candid", "i:jd"
ENDINGS = (".fits", ".png", ".npy")
NAMED = 5  # alerts listed in the error on an unknown one


@click.command()
@server_options
@click.option("--id", "object_id", required=True, metavar="ID", help="The object ID.")
@click.option("--candid", type=click.IntRange(0), help="The alert; by default the newest one.")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(CUTOUT_KINDS),
    multiple=True,
    default=CUTOUT_KINDS[:1],
    show_default=True,
    help="The cutout; repeatable, each kind then goes to its own file.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="FILE.fits, .png or .npy.")
@click.option("--show", is_flag=True, help="Draw it on the terminal, which is the default without -o.")
def cutout(
    url: str | None,
    profile: str | None,
    object_id: str,
    candid: int | None,
    kinds: tuple[str, ...],
    output: Path | None,
    show: bool,
) -> None:
    """Get a cutout (image stamp) of one alert. It is written to a file or drawn on the terminal.

    \b
    alertflight cutout --id ZTF20abfcszi
    alertflight cutout --id ZTF20abfcszi --kind Difference -o cutout.fits
    """  # noqa: D301  (click wants the backspace itself)
    kinds = tuple(dict.fromkeys(kinds))
    if output is not None:
        check_ending(output, ENDINGS)
    server = find_profile(url, profile).url
    chosen, jd, alerts = _choose(server, object_id, candid)
    which = f"the newest of {alerts} alerts, " if candid is None else ""
    click.echo(f"{object_id}: {which}candid {chosen}, JD {jd:.5f}", err=True)
    for kind, stamp in _stamps(server, object_id, chosen, jd, kinds).items():
        image = decode_one(stamp)
        if isinstance(image, str):
            raise click.ClickException(f"the {kind} cutout of alert {chosen} cannot be decoded: {image}")
        if output is not None:
            path = output if len(kinds) == 1 else output.with_name(f"{output.stem}_{kind}{output.suffix}")
            _write(path, stamp, image)
            click.echo(f"{kind}, {image.shape[0]} x {image.shape[1]} pixels, in {path}", err=True)
        if show or output is None:
            if len(kinds) > 1:
                click.echo(kind)
            click.echo(drawn(image, shutil.get_terminal_size().columns, coloured=_coloured()))


def _choose(url: str, object_id: str, candid: int | None) -> tuple[int, float, int]:
    """Return the candid and the JD of the chosen alert, and the number of alerts of the object."""
    found, _ = _ask(url, Query(table=DEFAULT_TABLE, ids=(object_id,), columns=(ALERT, TIME)))
    alerts = dict(zip(found[ALERT].to_pylist(), found[TIME].to_pylist(), strict=True))
    if not alerts:
        raise BadValue(f"the archive has no alert of {object_id!r:.60}", field="id", value=object_id)
    chosen = max(alerts, key=alerts.__getitem__) if candid is None else candid
    if chosen not in alerts:
        newest = sorted(alerts, key=alerts.__getitem__, reverse=True)
        shown = ", ".join(map(str, newest[:NAMED])) + (", ..." if len(newest) > NAMED else "")
        raise BadValue(f"{object_id} has no alert {chosen}; it has {shown}", field="candid", value=chosen)
    return chosen, alerts[chosen], len(alerts)


def _stamps(url: str, object_id: str, candid: int, jd: float, kinds: tuple[str, ...]) -> dict[str, bytes]:
    """Return the cutouts of one alert as plain FITS, by kind. Bounds around its time keep out other alerts."""
    bounds: dict[str, Any] = {"start": jd, "stop": math.nextafter(jd, math.inf)}
    found, record = _ask(
        url, Query(table=DEFAULT_TABLE, ids=(object_id,), columns=(ALERT,), cutouts=kinds, cutout_format="fits", **bounds)
    )
    if found[ALERT].to_pylist() != [candid]:
        raise CorruptData(f"the archive returned {len(found)} alerts at JD {jd}, expected {candid} alone")
    stamps = {kind: cells[0].as_py() for kind, cells in zip(kinds, found.columns[1:], strict=True)}
    without = [kind for kind, stamp in stamps.items() if stamp is None]
    if without:
        reasons = [f"cannot be unpacked ({reason})" for reason in record["cutout_errors"]]
        reasons += ["is not in the archive"] if record["missing_cutouts"] else []
        raise click.ClickException(f"the {' and the '.join(without)} cutout of alert {candid} {' or '.join(reasons)}")
    return stamps


def _ask(url: str, query: Query) -> tuple[pa.Table, dict[str, Any]]:
    stream = Stream(url, query)
    try:
        return pa.Table.from_batches(stream, schema=stream.schema), stream.record
    finally:
        stream.close()


def _write(path: Path, stamp: bytes, image: Image) -> None:
    with whole_file(path) as sink:
        if path.suffix == ".fits":
            sink.write(stamp)
        elif path.suffix == ".npy":
            np.save(sink, image)
        else:
            write_png(sink, image)


def _coloured() -> bool:
    """Return whether standard output is a terminal with colours and block characters."""
    dull = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return sys.stdout.isatty() and not dull and encoding == "utf8"
