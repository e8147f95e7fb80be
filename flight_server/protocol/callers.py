"""Who asks; every call below a door carries it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

__all__ = ["Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Parameters
    ----------
    name
        Who they are; there is no authentication yet.
    peer
        The address that the call comes from.
    request_id
        The number of this one request in the log.
    cancelled
        Return whether the caller has gone away.
    """

    name: str = "anonymous"
    peer: str = ""
    request_id: str = field(default_factory=lambda: uuid4().hex[:12])
    cancelled: Callable[[], bool] = lambda: False
