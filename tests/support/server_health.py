"""What a server says of itself."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.flight as fl


def health(client: fl.FlightClient, action: str = "health") -> dict[str, Any]:
    """Return the result of the action `health`, or of `refresh-schema`."""
    (result,) = client.do_action(fl.Action(action, b""))
    found: dict[str, Any] = json.loads(result.body.to_pybytes())
    return found
