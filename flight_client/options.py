"""Options shared by several commands of the client, and their parsers."""

from __future__ import annotations

from pathlib import Path

import click

from flight_client.profiles import find_profile

__all__ = ["chosen_server", "server_options", "server_or_store_options", "split_option"]

DEFAULT_SERVER = "[default: $ALERTFLIGHT_URL, the URL of your default profile, or grpc://127.0.0.1:8815]"


def server_options(command: click.decorators.FC) -> click.decorators.FC:
    """Add `--url` and `--profile`, which name a server, to a command that queries one."""
    command = click.option("--profile", metavar="NAME", help="The server of this profile in your client.yml.")(command)
    return click.option("--url", metavar="URL", help=f"The server.  {DEFAULT_SERVER}")(command)


def server_or_store_options(command: click.decorators.FC) -> click.decorators.FC:
    """Add `--url` and `--profile` to a command that reads a store unless one of them is given."""
    command = click.option("--profile", metavar="NAME", help="Ask the server of this profile instead of a store.")(command)
    return click.option("--url", metavar="URL", help="Ask this server instead of a store.")(command)


def chosen_server(url: str | None, profile: str | None, data: str | None, config: Path | None) -> str | None:
    """Return the URL of the server that the options name, or None where a store is to be read.

    The environment and the default profile are ignored: they name the server of the other commands, and must not turn a
    command about a store into one about a server.

    Raises
    ------
    UsageError
        The options name both a server and a store.
    BadValue
        The profile does not exist.
    """
    servers = [option for option, value in (("--url", url), ("--profile", profile)) if value is not None]
    stores = [option for option, value in (("--data", data), ("--config", config)) if value is not None]
    if servers and stores:
        raise click.UsageError(f"{' and '.join(servers)} names a server and {' and '.join(stores)} a store: give one of them")
    return find_profile(url, profile).url if servers else None


def split_option(_context: click.Context, _option: click.Parameter, value: tuple[str, ...]) -> list[str]:
    """Parse comma-separated names of an option that may be repeated."""
    return [part.strip() for text in value for part in text.split(",") if part.strip()]
