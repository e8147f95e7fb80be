"""The caller of a request; passed down to every layer below the RPC handlers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

__all__ = ["Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of one request.

    Parameters
    ----------
    name
        Their name; always `anonymous`, since there is no authentication yet.
    peer
        The network address of the client.
    request_id
        The ID of this request in the log.
    cancelled
        Return whether the caller has hung up.
    """

    name: str = "anonymous"
    peer: str = ""
    request_id: str = field(default_factory=lambda: uuid4().hex[:12])
    cancelled: Callable[[], bool] = lambda: False
