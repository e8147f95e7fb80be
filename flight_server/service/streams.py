"""The streams that are open: no more than allowed, and each ended when its plan is cancelled."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from flight_server.protocol.errors import Overloaded, StreamCancelled

__all__ = ["Stream", "Streams"]

RETRY_AFTER_MS = 1000
REMEMBERED = 10_000  # cancelled plans, the newest


class Streams:
    """The streams of one server.

    Parameters
    ----------
    most
        How many may be open at once.
    remembered
        How many cancelled plans are remembered, the newest ones.
    """

    def __init__(self, most: int, remembered: int = REMEMBERED) -> None:
        self._most = most
        self._remembered = remembered
        self._lock = threading.Lock()
        self._open: set[Stream] = set()
        self._cancelled: dict[bytes, None] = {}  # in the order in which they were cancelled

    def stream(self, plan: str | None) -> Stream:
        """Return a stream of a plan, or of none, that is not open yet."""
        return Stream(self, _key(plan))

    def cancel(self, plans: Iterable[str]) -> None:
        """End the streams of some plans, and refuse those that come later."""
        keys = dict.fromkeys(key for key in map(_key, plans) if key is not None)
        with self._lock:
            for key in keys:
                self._cancelled.pop(key, None)
                self._cancelled[key] = None
            while len(self._cancelled) > self._remembered:
                del self._cancelled[next(iter(self._cancelled))]
            for stream in self._open:
                if stream.plan in keys:
                    stream.cancelled = True

    def enter(self, stream: Stream) -> None:
        """Open a stream."""
        with self._lock:
            if stream.plan in self._cancelled:
                stream.cancelled = True
            stream.check()
            if len(self._open) >= self._most:
                message = f"{self._most} streams are open, as many as this server gives"
                raise Overloaded(message, retry_after_ms=RETRY_AFTER_MS)
            self._open.add(stream)

    def leave(self, stream: Stream) -> None:
        """Close a stream."""
        with self._lock:
            self._open.discard(stream)


class Stream:
    """One stream; open inside its `with` block, or between `open` and `close`."""

    def __init__(self, streams: Streams, plan: bytes | None) -> None:
        self._streams = streams
        self.plan = plan
        self.cancelled = False

    def check(self) -> None:
        """Raise `StreamCancelled` where its plan was cancelled."""
        if self.cancelled:
            raise StreamCancelled("the plan that this ticket is of was cancelled by CancelFlightInfo", field="plan")

    def open(self) -> None:
        """Take a place.

        Raises
        ------
        Overloaded, StreamCancelled
            Too many are open, or its plan was cancelled.
        """
        self._streams.enter(self)

    def close(self) -> None:
        """Give the place back; a second time does nothing."""
        self._streams.leave(self)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _key(plan: str | None) -> bytes | None:
    """Return what a plan is remembered by; a plan is what a client says it is, and may be long."""
    return None if plan is None else hashlib.sha256(plan.encode()).digest()[:16]
