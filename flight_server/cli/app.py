"""The command `alertflight`: each command is loaded when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from flight_server.cli.exits import exit_code
from flight_server.protocol.errors import AlertflightError

__all__ = ["main"]

COMMANDS = {
    "check": "flight_server.cli.check",
    "compact": "flight_server.cli.upkeep",
    "cutout": "flight_server.cli.cutout",
    "delete": "flight_server.cli.delete",
    "get": "flight_client.cli",
    "ingest": "flight_server.cli.ingest",
    "load": "flight_server.cli.ingest",
    "pull": "flight_client.pull",
    "schema": "flight_server.cli.schema",
    "serve": "flight_server.cli.serve",
    "simulate": "flight_server.cli.simulate",
    "statistics": "flight_server.cli.ingest",
    "tables": "flight_server.cli.tables",
    "verify": "flight_server.cli.upkeep",
}


class _Commands(click.Group):
    """A group whose commands are imported only when they are used or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AlertflightError as error:
            click.echo(f"Error: {error.message}", err=True)
            sys.exit(exit_code(error))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="alertflight", prog_name="alertflight")
def main() -> None:
    """Serve astronomical alerts as Arrow, over Arrow Flight."""
