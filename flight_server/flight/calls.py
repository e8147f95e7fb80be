"""The state of one RPC, safe to use from other threads and after its end."""

from __future__ import annotations

import threading
import time

import pyarrow.flight as fl

from flight_server.protocol.callers import Caller

__all__ = ["Call"]

POLL_SECONDS = 0.1  # between two queries of gRPC, each of which takes as long as half a small answer


class Call:
    """One RPC and whether its caller has hung up, known up to `POLL_SECONDS` late.

    gRPC frees the context when the RPC ends; using it after that crashes the server. Threads of a store may run on for
    a while and check for cancellation, so `end` drops the context first.
    """

    def __init__(self, context: fl.ServerCallContext) -> None:
        self._context: fl.ServerCallContext | None = context
        self._polled = time.monotonic()
        self._lock = threading.Lock()

    def caller(self) -> Caller:
        """Return the caller."""
        with self._lock:
            return Caller(peer="" if self._context is None else self._context.peer(), cancelled=self.cancelled)

    def cancelled(self) -> bool:
        """Return whether the caller has hung up, or the RPC has ended."""
        now = time.monotonic()
        with self._lock:
            if self._context is not None and now - self._polled >= POLL_SECONDS:
                self._polled = now
                if self._context.is_cancelled():
                    self._context = None
            return self._context is None

    def end(self) -> None:
        """Drop the context; call it before the RPC ends."""
        with self._lock:
            self._context = None
