"""Calls with a single result (actions), and what their failures mean."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from flight_client.connections import calling
from flight_client.proxies import proxy_hint
from flight_server.protocol.errors import AlertflightError, BackendLost, from_info

__all__ = ["act", "to_domain"]


def to_domain(error: Exception, url: str) -> AlertflightError:
    """Return the error that the server raised, or BackendLost if it sent none."""
    domain = from_info(getattr(error, "extra_info", b"") or b"")
    if domain is not None:
        return domain
    why = proxy_hint(url) or "is the server running?"
    return BackendLost(f"no answer from {url:.80}; {why} ({str(error).splitlines()[0][:120]})")


def act(url: str, action: str, body: str = "") -> Any:
    """Run an action on a server, and return its JSON result.

    Raises
    ------
    AlertflightError
        What the server raised, as the same class.
    """
    try:
        with calling(url) as client:
            (result,) = client.do_action(fl.Action(action, body.encode()))
    except (fl.FlightError, pa.ArrowException) as error:
        raise to_domain(error, url) from error
    return json.loads(result.body.to_pybytes())
