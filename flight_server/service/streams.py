"""The open streams of a server: admission limit, and cancellation by plan."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from flight_server.protocol.errors import Overloaded, StreamCancelled

__all__ = ["Stream", "Streams"]

RETRY_AFTER_MS = 1000
REMEMBERED = 10_000  # cancelled plans


class Streams:
    """The streams of one server.

    Parameters
    ----------
    most
        The most open streams.
    remembered
        The number of cancelled plans to remember; the oldest are forgotten first.
    """

    def __init__(self, most: int, remembered: int = REMEMBERED) -> None:
        self._most = most
        self._remembered = remembered
        self._lock = threading.Lock()
        self._open: set[Stream] = set()
        self._cancelled: dict[bytes, None] = {}  # in order of cancellation

    def stream(self, plan: str | None) -> Stream:
        """Return a stream, not open yet, of a plan or of no plan."""
        return Stream(self, _key(plan))

    def cancel(self, plans: Iterable[str]) -> None:
        """Cancel the open streams of plans, and refuse later ones."""
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
                message = f"{self._most} streams are open, the most that this server allows: retry later"
                raise Overloaded(message, retry_after_ms=RETRY_AFTER_MS)
            self._open.add(stream)

    def leave(self, stream: Stream) -> None:
        """Close a stream."""
        with self._lock:
            self._open.discard(stream)


class Stream:
    """One stream; open in its `with` block, or between `open` and `close`."""

    def __init__(self, streams: Streams, plan: bytes | None) -> None:
        self._streams = streams
        self.plan = plan
        self.cancelled = False

    def check(self) -> None:
        """Raise `StreamCancelled` if the plan was cancelled."""
        if self.cancelled:
            raise StreamCancelled("the plan of this ticket was cancelled by CancelFlightInfo", field="plan")

    def open(self) -> None:
        """Open the stream.

        Raises
        ------
        Overloaded, StreamCancelled
            Too many streams are open, or the plan was cancelled.
        """
        self._streams.enter(self)

    def close(self) -> None:
        """Close the stream; a second call does nothing."""
        self._streams.leave(self)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _key(plan: str | None) -> bytes | None:
    """Return the hash of a plan's name; clients choose the name, and it may be long."""
    return None if plan is None else hashlib.sha256(plan.encode()).digest()[:16]
