"""Who asks: every call below a handler carries it."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import uuid4

__all__ = ["Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and the number of this one request in the log."""

    name: str = "anonymous"
    peer: str = ""
    request_id: str = field(default_factory=lambda: uuid4().hex[:12])
