"""Options shared by several commands: the choice of a store."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["store_options"]

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def store_options(command: click.decorators.FC) -> click.decorators.FC:
    """Add `--data` and `--config`, which name a store, to a command."""
    command = click.option("--data", metavar="DIR", help="Folder of the embedded store.  [default: your data folder]")(command)
    return click.option("--config", type=FILE, metavar="FILE", help="Settings, YAML; they can name another store.")(command)
