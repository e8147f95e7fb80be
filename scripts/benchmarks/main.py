"""Benchmarks of the project; each prints one table and measures its reference in the same run."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import click
from bulk.lines import Sizes as BulkSizes
from bulk.lines import bench_bulk
from bulk.over_hbase import bench_hbase_bulk
from cutouts.decoding import bench_decoding
from cutouts.filling import Filling
from cutouts.lines import bench_cutouts
from cutouts.report import cutouts_table
from derived import bench_derived
from embedded import Sizes, bench_embedded
from hbase.columns import bench_columns, columns_table
from hbase.ingesting import bench_ingest, ingest_table
from hbase.lines import bench_hbase
from hbase.queries import bench_hbase_queries
from hbase.report import INCUMBENT, Measured, cpu_table, hbase_table
from measure import Line, table
from queries import bench_queries
from rows import bench_rows, grown_table
from rubin import bench_rubin

WORK = Path(".alertflight/bench")
SINGLE, QUICK_SINGLE = 600, 60
BULK_SHARE = 20  # single repetitions for one of a bulk line
REQUESTS = 10_000
DERIVED = 10
QUERIES = 200
QUICK_OBJECTS = 2000
BULK, HBASE_SHARE = 5, 4  # readings of all by each line; those of HBase, which are shorter, for one of them
FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure the project against the references of its design."""


def _common(command: click.decorators.FC) -> click.decorators.FC:
    folder = click.Path(file_okay=False, path_type=Path)
    command = click.option("--work", type=folder, default=WORK, show_default=True, help="Folder of the stores.")(command)
    command = click.option("--json", "json_", type=FILE, help="Write the results to this JSON file.")(command)
    return click.option("--repeat", type=click.IntRange(10), help="Repetitions of the single-object lines.")(command)


def _cluster(command: click.decorators.FC) -> click.decorators.FC:
    folder = click.Path(file_okay=False, path_type=Path)
    words = "Folder of a cluster, which is started if needed, filled once, and left running."
    command = click.option("--cluster", type=folder, metavar="FOLDER", help=words)(command)
    return click.option("--json", "json_", type=FILE, help="Write the results to this JSON file.")(command)


ROUNDS = click.option(
    "--rounds", "most_rounds", type=click.IntRange(20), default=200, show_default=True, help="Of the shortest work."
)


@main.command()
@click.option("--objects", type=click.IntRange(100), default=20_000, show_default=True, help="Of the store, 25 alerts each.")
@click.option("--quick", is_flag=True, help="A small store and few repetitions: only checks that everything works.")
@click.option("--profile", is_flag=True, help="Also show where the time goes.")
@click.option("--survey", type=click.Choice(["ztf", "rubin"]), default="ztf", show_default=True, help="Whose alerts.")
@_common
def embedded(  # noqa: PLR0917  (click passes its options by name)
    objects: int, quick: bool, profile: bool, survey: str, work: Path, json_: Path | None, repeat: int | None
) -> None:
    """Measure the embedded store against the bare server; missed goals are marked, the exit code stays 0."""
    single = repeat or (QUICK_SINGLE if quick else SINGLE)
    sizes = Sizes(
        objects=min(objects, QUICK_OBJECTS) if quick else objects,
        single=single,
        bulk=max(5, single // BULK_SHARE),
        requests=REQUESTS // 10 if quick else REQUESTS,
    )
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    lines, texts = [], []
    for found in bench_embedded(work, sizes, profile=profile) if survey == "ztf" else bench_rubin(work, single):
        if isinstance(found, Line):
            lines.append(found)
            click.echo(f"  {found.name}", err=True)
        else:
            texts.append(found)
    for text in texts:
        click.echo(text + "\n")
    click.echo(_where() + "\n" + table(lines))
    _write(json_, {"lines": [line.as_json() for line in lines], "profile": texts})


@main.command()
@click.option("--rows", type=click.IntRange(1000), default=10_000_000, show_default=True, help="Of the largest store.")
@_common
def rows(rows: int, work: Path, json_: Path | None, repeat: int | None) -> None:
    """Simulate, ingest and look up at 0.1, 1 and 10 million rows (up to --rows)."""
    found = list(bench_rows(work.resolve(), rows, repeat or SINGLE))
    click.echo(_where() + "\n" + grown_table(found))
    _write(json_, {"rows": [one.as_json() for one in found]})


@main.command()
@click.option("--rows", type=click.IntRange(1000), default=10_000, show_default=True, help="Of the store, 25 an object.")
@_common
def derived(rows: int, work: Path, json_: Path | None, repeat: int | None) -> None:
    """Make derived columns, against pandas and astropy; missed goals are marked, the exit code stays 0."""
    lines = list(bench_derived(work.resolve(), rows, repeat or DERIVED))
    click.echo(_where() + "\n" + table(lines))
    _write(json_, {"lines": [one.as_json() for one in lines]})


@main.command()
@click.option("--rows", type=click.IntRange(10_000), default=1_000_000, show_default=True, help="Of the embedded store.")
@click.option("--store", type=click.Choice(["embedded", "hbase"]), help="Only this store; by default both.")
@_cluster
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), default=WORK, help="Where embedded stores are kept.")
@click.option("--repeat", type=click.IntRange(10), default=QUERIES, show_default=True, help="Repetitions of each line.")
def queries(  # noqa: PLR0917  (click passes its options by name)
    rows: int, store: str | None, cluster: Path | None, work: Path, json_: Path | None, repeat: int
) -> None:
    """Measure cones, classes and derived columns on both stores; missed goals are marked, the exit code stays 0."""
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    lines: list[Line] = []
    if store != "hbase":
        lines += bench_queries(work, rows, repeat)
    if store != "embedded":
        lines += bench_hbase_queries(cluster, repeat)
    click.echo(_where() + "\n" + table(lines))
    _write(json_, {"lines": [one.as_json() for one in lines]})


@main.command()
@click.option("--objects", type=click.IntRange(100), default=100_000, show_default=True, help="Of the store, 25 alerts each.")
@click.option("--quick", is_flag=True, help="Small stores and few repetitions: only checks that everything works.")
@click.option("--store", type=click.Choice(["embedded", "hbase"]), help="Only this store; by default both.")
@_cluster
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), default=WORK, help="Where embedded stores are kept.")
@click.option("--repeat", type=click.IntRange(1), default=BULK, show_default=True, help="How often each line reads all.")
def bulk(  # noqa: PLR0917  (click passes its options by name)
    objects: int, quick: bool, store: str | None, cluster: Path | None, work: Path, json_: Path | None, repeat: int
) -> None:
    """Read many light curves in every way; missed goals are marked, the exit code stays 0."""
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    sizes = BulkSizes(min(objects, QUICK_OBJECTS), 1) if quick else BulkSizes(objects, repeat)
    lines: list[Line] = []
    for found in chain(
        bench_bulk(work, sizes) if store != "hbase" else (),
        bench_hbase_bulk(cluster, HBASE_SHARE * sizes.repeat, quick=quick) if store != "embedded" else (),
    ):
        lines.append(found)
        click.echo(f"  {found.name}", err=True)
    click.echo(_where() + "\n" + table(lines))
    _write(json_, {"lines": [one.as_json() for one in lines]})


@main.command("hbase")
@_cluster
@ROUNDS
@click.option("--profile", is_flag=True, help="Also show where the time goes.")
def hbase_(cluster: Path | None, most_rounds: int, profile: bool, json_: Path | None) -> None:
    """Measure the HBase store against the HBase client's own scanner; missed goals are marked, the exit code stays 0."""
    found = list(bench_hbase(cluster, most_rounds, profile=profile))
    texts = [one for one in found if isinstance(one, str)]
    works = [one for one in found if isinstance(one, Measured)]
    lines = [one for one in found if isinstance(one, Line)]
    click.echo("\n\n".join([_where(), *texts, hbase_table(works), cpu_table(works), table(lines), INCUMBENT]))
    _write(json_, {"works": [one.as_json() for one in works], "lines": [one.as_json() for one in lines], "texts": texts})


@main.command()
@_cluster
@ROUNDS
def hbase_columns(cluster: Path | None, most_rounds: int, json_: Path | None) -> None:
    """Find where reading whole families becomes faster than naming columns."""
    found = list(bench_columns(cluster, most_rounds))
    click.echo(_where() + "\n" + columns_table(found))
    _write(json_, {"columns": [one.as_json() for one in found]})


@main.command()
@_cluster
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True, help="Ingests, each into new tables.")
def hbase_ingest(cluster: Path | None, runs: int, json_: Path | None) -> None:
    """Ingest 20,000 alerts into HBase."""
    found = list(bench_ingest(cluster, runs))
    click.echo(_where() + "\n" + ingest_table(found))
    _write(json_, {"ingests": [one.as_json() for one in found]})


@main.command()
@_cluster
@click.option("--rounds", "most_rounds", type=click.IntRange(5), default=40, show_default=True, help="Of the shortest work.")
@click.option(
    "--quick", is_flag=True, help="Small blocks, few rounds: only checks that everything works; goals are for full blocks."
)
def cutouts(cluster: Path | None, most_rounds: int, quick: bool, json_: Path | None) -> None:
    """Measure reading of cutouts from blocks on HDFS against pyarrow's reader; missed goals are marked, the exit code stays 0."""
    filling = Filling(alerts=300) if quick else Filling()
    found = list(bench_cutouts(cluster, 5 if quick else most_rounds, filling))
    click.echo(_where() + "\n" + cutouts_table(found))
    _write(json_, {"works": [one.as_json() for one in found]})


@main.command()
@click.option(
    "--alerts",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("sample_data/ztf"),
    show_default=True,
    help="Folder of alert files whose cutouts are decoded.",
)
@click.option("--repeat", type=click.IntRange(5), default=60, show_default=True, help="Requests of 64 cutouts per side.")
@click.option("--json", "json_", type=FILE, help="Write the results to this JSON file.")
def cutouts_decoding(alerts: Path, repeat: int, json_: Path | None) -> None:
    """Measure the decoding of cutouts to pixels, against astropy."""
    lines = list(bench_decoding(alerts, repeat))
    click.echo(_where() + "\n" + table(lines))
    _write(json_, {"lines": [line.as_json() for line in lines]})


def _where() -> str:
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    libraries = ", ".join(f"{name} {version(name)}" for name in ("alertflight", "pyarrow", "numpy", "duckdb"))
    return f"{when}, {os.cpu_count()} cores, Python {platform.python_version()}, {libraries}"


def _write(file: Path | None, found: dict[str, Any]) -> None:
    if file:
        file.write_text(json.dumps({"where": _where(), **found}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
