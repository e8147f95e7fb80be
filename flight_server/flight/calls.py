"""One RPC under way, as what lies below the handlers may know it."""

from __future__ import annotations

import threading

import pyarrow.flight as fl

from flight_server.callers import Caller

__all__ = ["Call"]


class Call:
    """Knows whether the caller of an RPC has gone away.

    gRPC takes the context away when the RPC ends, and asking it then would crash the server. Threads of a store
    may go on for a while and ask; so it is let go of first.
    """

    def __init__(self, context: fl.ServerCallContext) -> None:
        self._context: fl.ServerCallContext | None = context
        self._lock = threading.Lock()

    def caller(self) -> Caller:
        """Say who calls."""
        with self._lock:
            return Caller(peer="" if self._context is None else self._context.peer(), cancelled=self.cancelled)

    def cancelled(self) -> bool:
        """Say whether the caller has hung up, or the RPC is over."""
        with self._lock:
            return self._context is None or bool(self._context.is_cancelled())

    def end(self) -> None:
        """Let go of the context."""
        with self._lock:
            self._context = None
