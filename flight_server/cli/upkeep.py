"""The commands that look after an embedded store: `compact`, `verify`."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import click

from flight_server.catalog.catalog import load_catalog
from flight_server.cli.exits import EXIT_DATA
from flight_server.cli.options import store_options
from flight_server.execution.archive import Archive
from flight_server.service.process import embedded_folder
from flight_server.settings import load_settings
from flight_server.storage.embedded import EmbeddedStore, verify_folder

__all__ = ["compact", "verify"]


@click.command()
@click.option("--full", is_flag=True, help="Merge all segments of a table, not only adjacent ones of similar size.")
@store_options
def compact(full: bool, data: str | None, config: Path | None) -> None:
    """Merge segments and free disk space. A running server is not interrupted."""
    settings = load_settings(config, data=data)
    store = EmbeddedStore(embedded_folder(settings))
    with closing(store):
        archive = Archive(load_catalog(), store, store.cutouts, settings)
        _end_if_damaged(archive)
        total = sum(state.rows or 0 for state in archive.states().values())
        with click.progressbar(length=max(total, 1), label="compact", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            report = store.compact(full=full, progress=lambda _, rows: bar.update(rows))
    for name, (before, after) in report.segments.items():
        click.echo(f"{name}: {before} segments, " + (f"now {after}" if before != after else "unchanged"))
    if report.blocks_unused:
        click.echo(
            f"{report.blocks_unused} blocks of cutouts are no longer used; a compaction in 15 minutes or later removes them"
        )
    if report.blocks_removed:
        click.echo(f"{report.blocks_removed} unused blocks of cutouts removed")
    click.echo(f"{report.bytes_before / 1e6:.1f} MB, now {report.bytes_after / 1e6:.1f} MB")


@click.command()
@store_options
def verify(data: str | None, config: Path | None) -> None:
    """Check every byte of the store. Prints each damaged file, and exits with 1 if there is any."""
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


def _end_if_damaged(archive: Archive) -> None:
    """Print the tables of an embedded store that cannot be read, and exit if there are any."""
    faults = archive.faults()
    for name, fault in faults.items():
        click.echo(f"{name} cannot be read: {fault.code}: {fault.message}; alertflight verify names the files", err=True)
    if faults:
        sys.exit(EXIT_DATA)
