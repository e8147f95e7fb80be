"""One RPC under way, as what lies below the handlers may know it."""

from __future__ import annotations

import threading
import time

import pyarrow.flight as fl

from flight_server.protocol.callers import Caller

__all__ = ["Call"]

ASKED_SECONDS = 0.1  # to ask gRPC takes as long as half a small answer


class Call:
    """Knows whether the caller of an RPC has gone away, a moment late.

    gRPC takes the context away when the RPC ends, and asking it then would crash the server. Threads of a store
    may go on for a while and ask; so it is let go of first.
    """

    def __init__(self, context: fl.ServerCallContext) -> None:
        self._context: fl.ServerCallContext | None = context
        self._asked = time.monotonic()
        self._lock = threading.Lock()

    def caller(self) -> Caller:
        """Say who calls."""
        with self._lock:
            return Caller(peer="" if self._context is None else self._context.peer(), cancelled=self.cancelled)

    def cancelled(self) -> bool:
        """Say whether the caller has hung up, or the RPC is over."""
        now = time.monotonic()
        with self._lock:
            if self._context is not None and now - self._asked >= ASKED_SECONDS:
                self._asked = now
                if self._context.is_cancelled():
                    self._context = None
            return self._context is None

    def end(self) -> None:
        """Let go of the context."""
        with self._lock:
            self._context = None
