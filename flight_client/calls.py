"""Connections to a server, and its actions."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.errors import AlertflightError, BackendLost, BadValue, from_info

__all__ = ["act", "connect", "to_domain"]


def connect(url: str) -> fl.FlightClient:
    """Connect to a server, such as `grpc://127.0.0.1:8815`; that there is none shows with the first call.

    Raises
    ------
    BadValue
        That is no address.
    """
    try:
        return fl.connect(url)
    except (ValueError, KeyError, pa.ArrowException):
        message = f"{url!r:.80} is no address of a server, such as grpc://127.0.0.1:8815"
        raise BadValue(message, field="url", value=url) from None


def to_domain(error: Exception, url: str) -> AlertflightError:
    """Give the error that a server raised; where it raised none, that it cannot be reached."""
    domain = from_info(getattr(error, "extra_info", b"") or b"")
    if domain is not None:
        return domain
    return BackendLost(f"no answer from {url}: is the server running? ({str(error).splitlines()[0][:120]})")


def act(url: str, action: str, body: str = "") -> Any:
    """Have a server run an action; gives what its JSON says.

    Raises
    ------
    AlertflightError
        What the server raised, as the same class.
    """
    with connect(url) as client:
        try:
            (result,) = client.do_action(fl.Action(action, body.encode()))
        except (fl.FlightError, pa.ArrowException) as error:
            raise to_domain(error, url) from error
        return json.loads(result.body.to_pybytes())
