"""The command `alertflight`: server commands; client commands are loaded when they are called."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click

from flight_server.cli.options import store_options
from flight_server.protocol.errors import TRANSPORT, AlertflightError

__all__ = ["main"]

EXIT_DATA = 1
EXIT_USAGE = 2
EXIT_SERVER = 3
CLIENT_COMMANDS = {
    "cutout": "flight_client.cutout",
    "get": "flight_client.cli",
    "pull": "flight_client.pull",
    "schema": "flight_client.schema",
    "tables": "flight_client.tables",
}


class _Commands(click.Group):
    """A group whose client commands are imported only when one is used or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *CLIENT_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in CLIENT_COMMANDS:
            found: click.Command = getattr(importlib.import_module(CLIENT_COMMANDS[cmd_name]), cmd_name)
            return found
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AlertflightError as error:
            click.echo(f"Error: {error.message}", err=True)
            sys.exit(_exit_code(error))


def _exit_code(error: AlertflightError) -> int:
    if error.code == "corrupt_data":
        return EXIT_DATA
    return EXIT_USAGE if TRANSPORT[error.code].http == HTTPStatus.BAD_REQUEST else EXIT_SERVER


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="alertflight", prog_name="alertflight")
def main() -> None:
    """Serve astronomical alerts as Arrow, over Arrow Flight."""


@main.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 chooses a free one.  [default: 8815]")
@store_options
def serve(host: str | None, port: int | None, data: str | None, config: Path | None) -> None:
    """Serve the archive until interrupted."""
    from flight_server.flight.server import address
    from flight_server.service.process import serve as run
    from flight_server.settings import load_settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = load_settings(config, data=data, host=host, port=port)

    def ready(server: Any, archive: Any) -> None:
        url = address(settings.server.host, server.port)
        rows = archive.states()["ztf"].rows
        what = "the tables" if rows is None else f"{rows} alerts"
        for name, fault in archive.faults().items():
            click.echo(f"{name} is not served: {fault.message}")
        click.echo(f"serving {what} from {settings.place}\nready {url}\n{_snippet(url, archive)}")

    run(settings, ready)


def _snippet(url: str, archive: Any) -> str:
    """Return a `do_get` to paste into Python, for an object in the archive."""
    from flight_server.cli.welcome import example_id

    ticket = {"table": "ztf", "ids": [example_id(archive)], "columns": ["i:jd", "i:fid", "i:magpsf", "i:sigmapsf"]}
    return f"""
Paste into Python (pip install pyarrow pandas):

import json, pandas as pd, pyarrow.flight as fl
ticket = {json.dumps(ticket)}
reader = fl.connect("{url}").do_get(fl.Ticket(json.dumps(ticket)))
print(reader.read_all().to_pandas(types_mapper=pd.ArrowDtype))
"""


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("--history", is_flag=True, help="Also store good points of the histories, where there is no alert.")
@store_options
def ingest(paths: tuple[Path, ...], history: bool, data: str | None, config: Path | None) -> None:
    """Load alert files into the store. They may be Parquet or Avro, or folders with such files.

    In the embedded store an ingest is one transaction: an interrupted one leaves nothing. HBase has no transactions:
    run an interrupted ingest again. A bad file is reported with the reason; the others are loaded, and the command
    exits with 1.
    """
    from flight_server.catalog.catalog import load_catalog
    from flight_server.ingest import ingest as run
    from flight_server.ingest.files import Found, find_files
    from flight_server.service.stores import open_store
    from flight_server.settings import load_settings

    settings = load_settings(config, data=data)
    catalog = load_catalog()
    store = open_store(settings, catalog)
    terminal = sys.stderr.isatty()
    total = sum(found.size for found in find_files(paths) if found.alerts) if terminal else 0
    with click.progressbar(length=max(total, 1), label="ingest", file=sys.stderr, hidden=not terminal) as bar:

        def progress(found: Found, line: str) -> None:
            if terminal:
                bar.update(found.size)
            else:
                click.echo(f"{found.path}: {line}", err=True)

        report = run(store, catalog, paths, progress, history=history)
    store.close()
    for path, reason in report.failures.items() if terminal else ():
        click.echo(f"{path}: refused: {reason}", err=True)
    for path in report.skipped:
        click.echo(f"{path}: skipped, not an alert file", err=True)
    if report.not_stored:
        click.echo(f"columns not stored: {', '.join(sorted(report.not_stored))}", err=True)
    written = ", ".join(f"{count} rows to {name}" for name, count in sorted(report.rows.items()) if count)
    click.echo(f"{report.alerts} alerts of {_files(report.files)}; {written or 'nothing new'}")
    if report.failures:
        click.echo(f"{_files(len(report.failures))} refused", err=True)
        sys.exit(EXIT_DATA)


@main.command()
@click.argument("table", metavar="TABLE")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@store_options
def load(table: str, files: tuple[Path, ...], data: str | None, config: Path | None) -> None:
    """Load rows of files into a table. The files may be Parquet, CSV or JSON, the table one not filled from alerts.

    All rows of all files are loaded, or none. A row replaces a stored row with the same key.
    """
    from flight_server.catalog.catalog import load_catalog
    from flight_server.ingest import load as run
    from flight_server.service.stores import open_store
    from flight_server.settings import load_settings

    catalog = load_catalog()
    store = open_store(load_settings(config, data=data), catalog)
    try:
        report = run(store, catalog, table, files)
    finally:
        store.close()
    click.echo(f"{report.read} rows of {_files(report.files)}; {_written(report.written, table)}")


@main.command()
@store_options
def statistics(data: str | None, config: Path | None) -> None:
    """Count the alerts of each night. The counts are written to statistics_class."""
    from flight_server.catalog.catalog import load_catalog
    from flight_server.ingest import count_nights
    from flight_server.service.stores import open_store
    from flight_server.settings import load_settings

    catalog = load_catalog()
    store = open_store(load_settings(config, data=data), catalog)
    try:
        report = count_nights(store, catalog)
    finally:
        store.close()
    click.echo(f"{report.read} nights; {_written(report.written, 'statistics_class')}")


def _written(rows: int, table: str) -> str:
    return f"{rows} rows to {table}" if rows else "nothing new"


def _end_if_damaged(archive: Any) -> None:
    """Print the tables of an embedded store that cannot be read, and exit if there are any."""
    faults = archive.faults()
    for name, fault in faults.items():
        click.echo(f"{name} cannot be read: {fault.code}: {fault.message}; alertflight verify names the files", err=True)
    if faults:
        sys.exit(EXIT_DATA)


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"


@main.command()
@click.option("--full", is_flag=True, help="Merge all segments of a table, not only adjacent ones of similar size.")
@store_options
def compact(full: bool, data: str | None, config: Path | None) -> None:
    """Merge segments and free disk space. A running server is not interrupted."""
    from flight_server.catalog.catalog import load_catalog
    from flight_server.execution.archive import Archive
    from flight_server.service.process import embedded_folder
    from flight_server.settings import load_settings
    from flight_server.storage.embedded import EmbeddedStore

    settings = load_settings(config, data=data)
    store = EmbeddedStore(embedded_folder(settings))
    archive = Archive(load_catalog(), store, store.cutouts, settings)
    _end_if_damaged(archive)
    total = sum(state.rows or 0 for state in archive.states().values())
    with click.progressbar(length=max(total, 1), label="compact", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        report = store.compact(full=full, progress=lambda _, rows: bar.update(rows))
    store.close()
    for name, (before, after) in report.segments.items():
        click.echo(f"{name}: {before} segments, " + (f"now {after}" if before != after else "unchanged"))
    if report.blocks_unused:
        click.echo(
            f"{report.blocks_unused} blocks of cutouts are no longer used; a compaction in 15 minutes or later removes them"
        )
    if report.blocks_removed:
        click.echo(f"{report.blocks_removed} unused blocks of cutouts removed")
    click.echo(f"{report.bytes_before / 1e6:.1f} MB, now {report.bytes_after / 1e6:.1f} MB")


@main.command()
@store_options
def verify(data: str | None, config: Path | None) -> None:
    """Check every byte of the store. Prints each damaged file, and exits with 1 if there is any."""
    from flight_server.service.process import embedded_folder
    from flight_server.settings import load_settings
    from flight_server.storage.embedded import verify_folder

    folder = embedded_folder(load_settings(config, data=data))
    terminal = sys.stderr.isatty()
    total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if terminal else 0
    found = 0
    with click.progressbar(length=max(total, 1), label="verify", file=sys.stderr, hidden=not terminal) as bar:
        for line in verify_folder(folder, bar.update):
            found += 1
            click.echo(line)
    if found:
        click.echo(f"{found} wrong", err=True)
        sys.exit(EXIT_DATA)
    click.echo("no damage found")


def _named(_context: click.Context, _option: click.Parameter, value: tuple[str, ...]) -> dict[str, int]:
    named = {}
    for text in value:
        name, _, count = text.rpartition(":")
        if not name or not count.isdigit() or int(count) < 1:
            raise click.BadParameter(f"{text!r} is not NAME:ALERTS, such as ZTF21abfmbix:33")
        named[name] = int(count)
    return named


@main.command()
@click.option("--survey", type=click.Choice(["ztf"]), default="ztf", show_default=True, help="The survey to simulate.")
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
@click.option(
    "--format", "format_", type=click.Choice(["parquet", "avro"]), default="parquet", show_default=True, help="File format."
)
@click.option(
    "--like", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Parquet file of real alerts to replicate."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to.")
def simulate(  # noqa: PLR0917  (click passes its options by name)
    survey: str,
    objects: int,
    alerts: int,
    nights: int,
    seed: int,
    named: dict[str, int],
    stamps: bool,
    format_: str,
    like: Path | None,
    out: Path,
) -> None:
    """Write simulated alert files. They are real alerts with new names, positions, times and brightnesses."""
    from flight_server.simulate import simulate as run

    del survey  # only one so far
    total = objects * alerts + sum(named.values())
    with click.progressbar(length=max(total, 1), label="simulate", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        written = run(
            out,
            objects=objects,
            nights=nights,
            seed=seed,
            alerts_each=alerts,
            named=named,
            stamps=stamps,
            avro=format_ == "avro",
            like=like,
            progress=bar.update,
        )
    click.echo(f"{written} alerts of {objects + len(named)} objects in {out}")
