"""The command `delete`, which takes alerts out of a store."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from alertflight_config import DEFAULT_SURVEY

from flight_server.catalog.catalog import load_catalog
from flight_server.cli.exits import EXIT_DATA, EXIT_USAGE
from flight_server.cli.options import store_options
from flight_server.ingest.removal import find_rows, remove, typed_objects
from flight_server.service.stores import open_store
from flight_server.settings import load_settings

__all__ = ["delete"]


@click.command()
@click.option("--object", "objects", multiple=True, metavar="ID", help="An object: all of its alerts and its history.")
@click.option("--alert", "alerts", multiple=True, type=int, metavar="ID", help="One alert, by its alert ID (candid).")
@click.option("--survey", default=DEFAULT_SURVEY, show_default=True, metavar="NAME", help="The survey of the alerts.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@store_options
def delete(
    objects: tuple[str, ...], alerts: tuple[int, ...], survey: str, yes: bool, data: str | None, config: Path | None
) -> None:
    """Delete objects or single alerts from all tables. Both options may be repeated.

    The rows are counted first, and the command asks. In the embedded store a deletion is one transaction; HBase has no
    transactions: run an interrupted deletion again. An ID that no row has is named, and the command exits with 1.
    """
    if not objects and not alerts:
        click.echo("Error: name what to delete, with --object or --alert", err=True)
        sys.exit(EXIT_USAGE)
    catalog = load_catalog()
    if survey not in catalog.surveys:
        click.echo(f"Error: there is no survey {survey!r}; known are {', '.join(catalog.surveys)}", err=True)
        sys.exit(EXIT_USAGE)
    store = open_store(load_settings(config, data=data), catalog)
    try:
        named = catalog.surveys[survey]
        view = store.view()
        total = sum(view.state(table).rows or 0 for table in named.tables.values() if table.name in view.columns)
        hidden = not sys.stderr.isatty()
        with click.progressbar(length=max(total, 1), label="read", file=sys.stderr, hidden=hidden) as bar:
            found = find_rows(
                store, catalog, named, objects=typed_objects(named, catalog, objects), alerts=alerts, progress=bar.update
            )
        for one in found.missing:
            click.echo(f"{one}: no row has this ID", err=True)
        rows = ", ".join(f"{count} rows of {name}" for name, count in sorted(found.counts.items()))
        if rows and (yes or click.confirm(f"Delete {rows}?", err=True)):
            back = remove(store, catalog, named, found)
            click.echo(f"{rows} deleted")
            for name, count in sorted(back.items()):
                if count:
                    click.echo(f"{count} rows of {name} put back, of alerts that they had overwritten")
        elif not rows:
            click.echo("nothing to delete")
    finally:
        store.close()
    if found.missing:
        sys.exit(EXIT_DATA)
