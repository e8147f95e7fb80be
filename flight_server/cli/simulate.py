"""The command `simulate`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from alertflight_config import DEFAULT_SURVEY, EXAMPLE_ID

from flight_server.simulate import simulate as run
from flight_server.simulate.recipes import load_recipes

__all__ = ["simulate"]

SURVEY = click.Choice(list(load_recipes()))


def _named(_context: click.Context, _option: click.Parameter, value: tuple[str, ...]) -> dict[str, int]:
    named = {}
    for text in value:
        name, _, count = text.rpartition(":")
        if not name or not count.isdigit() or int(count) < 1:
            raise click.BadParameter(f"{text!r} is not NAME:ALERTS, such as {EXAMPLE_ID}:33")
        named[name] = int(count)
    return named


@click.command()
@click.option("--survey", type=SURVEY, default=DEFAULT_SURVEY, show_default=True, help="The survey to simulate.")
@click.option("--objects", type=click.IntRange(0), required=True, help="Number of objects.")
@click.option("--alerts", type=click.IntRange(1), default=25, show_default=True, help="Alerts per object.")
@click.option("--nights", type=click.IntRange(1), default=30, show_default=True, help="Nights over which the alerts are spread.")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Random seed; the same seed yields the same files."
)
@click.option(
    "--name", "named", multiple=True, callback=_named, metavar="NAME:ALERTS", help="Another object with this name; repeatable."
)
@click.option("--stamps", is_flag=True, help="Include cutouts: rotated and mirrored real ones.")
@click.option("--no-histories", is_flag=True, help="Leave out the histories of alerts.")
@click.option(
    "--format", "format_", type=click.Choice(["parquet", "avro"]), default="parquet", show_default=True, help="File format."
)
@click.option(
    "--like", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Parquet file of real alerts to replicate."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to.")
def simulate(
    survey: str,
    objects: int,
    alerts: int,
    nights: int,
    seed: int,
    named: dict[str, int],
    stamps: bool,
    no_histories: bool,
    format_: str,
    like: Path | None,
    out: Path,
) -> None:
    """Write simulated alert files. They are real alerts with new names, positions, times and brightnesses."""
    total = objects * alerts + sum(named.values())
    with click.progressbar(length=max(total, 1), label="simulate", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        written = run(
            out,
            survey=survey,
            objects=objects,
            nights=nights,
            seed=seed,
            alerts_each=alerts,
            named=named,
            stamps=stamps,
            histories=not no_histories,
            avro=format_ == "avro",
            like=like,
            progress=bar.update,
        )
    click.echo(f"{written} alerts of {objects + len(named)} objects in {out}")
