"""The commands that put rows into a store: `ingest`, `load`, `statistics`."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import click

from flight_server.catalog.catalog import load_catalog
from flight_server.cli.exits import EXIT_DATA
from flight_server.cli.ingest_remarks import ingest_remarks, rounded_remarks
from flight_server.cli.options import store_options
from flight_server.ingest import count_nights
from flight_server.ingest import ingest as run_ingest
from flight_server.ingest import load as run_load
from flight_server.ingest.files import Found, find_files
from flight_server.service.stores import open_store
from flight_server.settings import load_settings

__all__ = ["ingest", "load", "statistics"]


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option(
    "--history", is_flag=True, help="Also store good points of the histories, where there is no alert, and all upper limits."
)
@store_options
def ingest(paths: tuple[Path, ...], history: bool, data: str | None, config: Path | None) -> None:
    """Load alert files into the store. They may be Parquet or Avro, archives (.tar.gz, .zip, ...) or folders with such files.

    In the embedded store an ingest is one transaction: an interrupted one leaves nothing. HBase has no transactions:
    run an interrupted ingest again. A bad file is reported with the reason; the others are loaded, and the command
    exits with 1.
    """
    settings = load_settings(config, data=data)
    catalog = load_catalog()
    terminal = sys.stderr.isatty()
    total = sum(found.size for found in find_files(paths) if found.alerts) if terminal else 0
    with (
        closing(open_store(settings, catalog)) as store,
        click.progressbar(length=max(total, 1), label="ingest", file=sys.stderr, hidden=not terminal) as bar,
    ):

        def progress(found: Found, line: str) -> None:
            if terminal:
                bar.update(found.size)
            elif line:
                click.echo(f"{found.path}: {line}", err=True)

        report = run_ingest(store, catalog, paths, progress, history=history)
    for path, reason in report.failures.items() if terminal else ():
        click.echo(f"{path}: refused: {reason}", err=True)
    for line in ingest_remarks(report):
        click.echo(line, err=True)
    written = ", ".join(f"{count} rows to {name}" for name, count in sorted(report.rows.items()) if count)
    click.echo(f"{report.alerts} alerts of {_files(report.files)}; {written or 'nothing new'}")
    if report.failures:
        click.echo(f"{_files(len(report.failures))} refused", err=True)
        sys.exit(EXIT_DATA)
    if not report.files:
        click.echo(
            "no alert files were found: give Parquet or Avro files, archives of such files, or folders with them", err=True
        )
        sys.exit(EXIT_DATA)


@click.command()
@click.argument("table", metavar="TABLE")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@store_options
def load(table: str, files: tuple[Path, ...], data: str | None, config: Path | None) -> None:
    """Load rows of files into a table. The files may be Parquet, CSV or JSON, the table one not filled from alerts.

    Columns that the table does not have are left out, and named. All rows of all files are loaded, or none. A row
    replaces a stored row with the same key.
    """
    catalog = load_catalog()
    store = open_store(load_settings(config, data=data), catalog)
    try:
        report = run_load(store, catalog, table, files)
    finally:
        store.close()
    for remark in (*rounded_remarks(report.rounded), *report.remarks):
        click.echo(remark, err=True)
    click.echo(f"{report.read} rows of {_files(report.files)}; {_written(report.written, table)}")


@click.command()
@store_options
def statistics(data: str | None, config: Path | None) -> None:
    """Count the alerts of each night. The counts are written to statistics_class."""
    catalog = load_catalog()
    store = open_store(load_settings(config, data=data), catalog)
    try:
        report = count_nights(store, catalog)
    finally:
        store.close()
    click.echo(f"{report.read} nights; {_written(report.written, 'statistics_class')}")


def _written(rows: int, table: str) -> str:
    return f"{rows} rows to {table}" if rows else "nothing new"


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"
