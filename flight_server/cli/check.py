"""The command `check`: tries an installation, table by table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from flight_server.cli.exits import EXIT_DATA
from flight_server.cli.options import store_options
from flight_server.cli.tables import refused_lines
from flight_server.cli.text_columns import in_columns
from flight_server.execution.trials import Trial, try_table
from flight_server.protocol.callers import Caller
from flight_server.service.process import open_archive
from flight_server.settings import load_settings

__all__ = ["check", "laid_out"]

HEAD = ("table", "asked by", "result", "rows", "ms", "what is wrong")
RESULTS = ("ok", "empty", "absent", "failed")
NUMBERS = ("rows", "ms")


@click.command()
@store_options
def check(data: str | None, config: Path | None) -> None:
    """Try one ticket of each kind on each table. Exits with 1 if one fails, or if there is no table at all.

    \b
    alertflight check --config fink.yml
    """  # noqa: D301  (click wants the backspace itself)
    settings = load_settings(config, data=data)
    archive, store = open_archive(settings)
    trials: list[Trial] = []
    try:
        catalog, absent = archive.catalog(), archive.absent_surveys()
        names = [name for name, table in catalog.tables.items() if table.survey not in absent]
        with click.progressbar(names, label="check", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            for name in bar:
                trials += try_table(archive, name, Caller("check"))
        click.echo(laid_out(trials))
        for survey in archive.absent_surveys():
            click.echo(f"no table of {survey} is there")
        for line in refused_lines(archive.refused_columns()):
            click.echo(line)
    finally:
        store.close()
    counts = [sum(trial.result == result for trial in trials) for result in RESULTS]
    click.echo("{} ok, {} without a row, {} absent, {} failed".format(*counts))
    if counts[-1] or counts[-2] == len(trials):
        sys.exit(EXIT_DATA)


def laid_out(trials: Sequence[Trial]) -> str:
    """Format trials, one line each.

    >>> print(laid_out([Trial("ztf", "ids", "{}", 21, "", 0.0042)]))
    table  asked by  result  rows  ms  what is wrong
    ztf    ids       ok        21   4
    """
    return in_columns([HEAD, *(_cells(trial) for trial in trials)], NUMBERS)


def _cells(trial: Trial) -> tuple[str, ...]:
    rows = "" if trial.rows is None else f"{trial.rows}"
    took = f"{trial.seconds * 1000:.0f}" if trial.ticket else ""
    return trial.table, trial.kind, trial.result, rows, took, trial.fault
