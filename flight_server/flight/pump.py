"""The pump of a stream: a thread makes its messages, gRPC's takes them out of a bounded queue.

So the deadline and a cancellation act while nobody reads, a client hears something while the store is slow, and a stream
whose reader has stopped gives back its place, its scan and its files. gRPC's own thread cannot be called back out of a
write: it ends with the client's connection.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from flight_server.protocol.errors import DeadlinePassed

__all__ = ["KEEP_ALIVE_SECONDS", "Pump", "PumpEnded"]

T = TypeVar("T")

KEEP_ALIVE_SECONDS = 5.0  # how long a client hears nothing
CHECK_SECONDS = 0.25  # between two looks at the deadline while the queue is full
QUEUED = 3  # messages of 1 to 2 MiB each


class PumpEnded(Exception):
    """All messages were taken."""


class _Closed(Exception):
    """The stream is over: its messages are not wanted any more."""


class Pump(Generic[T]):
    """Carries the items of an iterator from the thread that makes them to the one that sends them.

    Parameters
    ----------
    items
        What is made; closed by the thread that makes it.
    check
        Raises where the work has to end.
    stall_seconds
        How long the reader may take nothing.
    on_end
        Called once, when nothing is made any more and all of it was taken or thrown away.
    """

    def __init__(
        self, items: Iterator[T], check: Callable[[], None], stall_seconds: float, on_end: Callable[[], None] = lambda: None
    ) -> None:
        self._items = items
        self._check = check
        self._stall_seconds = stall_seconds
        self._on_end = on_end
        self._queue: deque[T] = deque()
        self._ended = False
        self._closed = False
        self._asked = time.monotonic()  # when the reader last came for an item
        self._change = threading.Condition()
        self.failure: Exception | None = None  # what ended the work early
        self.delivered = self._asked  # when the reader last took an item

    def run(self) -> None:
        """Make the items, until there are no more or nobody wants them."""
        failure: Exception | None = None
        try:
            try:
                for item in self._items:
                    self._put(item)
            finally:
                close = getattr(self._items, "close", None)
                if close is not None:
                    close()
            self._await_reader(0, lambda: None)  # a slow reader of the last items is no late answer
        except _Closed:
            pass
        except Exception as error:  # noqa: BLE001  (the reader raises it)
            failure = error
        with self._change:
            self.failure = failure
            self._ended = True
            self._change.notify_all()
        self._on_end()

    def take(self, seconds: float) -> T | None:
        """Return the next item, or None where there is none after so many seconds.

        Raises
        ------
        PumpEnded
            There are no more.
        Exception
            What ended the work early.
        """
        with self._change:
            if not self._queue and not self._ended:
                self._change.wait_for(lambda: self._queue or self._ended, seconds)
            self._asked = time.monotonic()
            if self._queue:
                self.delivered = self._asked
                item = self._queue.popleft()
                self._change.notify_all()
                return item
            if not self._ended:
                return None
            if self.failure is not None:
                raise self.failure
            raise PumpEnded

    def close(self) -> None:
        """Throw away what was made and end the work."""
        with self._change:
            self._closed = True
            self._queue.clear()
            self._change.notify_all()

    def _put(self, item: T) -> None:
        self._await_reader(QUEUED - 1, self._check)
        with self._change:
            self._queue.append(item)
            self._change.notify_all()

    def _await_reader(self, most: int, check: Callable[[], None]) -> None:
        """Wait until no more than `most` items are queued.

        Raises
        ------
        DeadlinePassed
            The reader took nothing for `stall_seconds`.
        """
        while True:
            with self._change:
                if self._closed:
                    raise _Closed
                if len(self._queue) <= most:
                    return
                self._change.wait(min(CHECK_SECONDS, self._stall_seconds))
                if len(self._queue) > most and time.monotonic() - self._asked > self._stall_seconds:
                    self._queue.clear()
                    raise DeadlinePassed(f"nothing was read for {self._stall_seconds:g} s: ask again for what did not come")
            check()
