"""The exit codes of commands."""

from __future__ import annotations

from http import HTTPStatus

from flight_server.protocol.errors import TRANSPORT, AlertflightError

__all__ = ["EXIT_DATA", "EXIT_SERVER", "EXIT_USAGE", "exit_code"]

EXIT_DATA = 1
EXIT_USAGE = 2
EXIT_SERVER = 3


def exit_code(error: AlertflightError) -> int:
    """Return the exit code of a command that ended with an error.

    >>> from flight_server.protocol.errors import BadValue
    >>> exit_code(BadValue("no such column"))
    2
    """
    if error.code == "corrupt_data":
        return EXIT_DATA
    return EXIT_USAGE if TRANSPORT[error.code].http == HTTPStatus.BAD_REQUEST else EXIT_SERVER
