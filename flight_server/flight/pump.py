"""The pump of a stream: a thread produces messages, gRPC's thread takes them from a bounded queue.

So the deadline and a cancellation take effect while the client does not read, the client gets keep-alives while the store
is slow, and a stream whose reader has stalled frees its slot, scan and files. gRPC's own thread cannot be interrupted in a
write: it ends with the client's connection.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from copy import copy
from typing import Generic, TypeVar

from flight_server.flight.errors import detached
from flight_server.protocol.errors import AlertflightError, DeadlinePassed, StreamCancelled

__all__ = ["KEEP_ALIVE_SECONDS", "Pump", "PumpEnded"]

T = TypeVar("T")

KEEP_ALIVE_SECONDS = 5.0  # the longest silence towards a client
CHECK_SECONDS = 0.25  # between checks of the deadline while the queue is full
QUEUED = 3  # messages of 1 to 2 MiB each


class PumpEnded(Exception):
    """All messages have been taken."""


class _Closed(Exception):
    """The stream was closed: its messages are no longer needed."""


class Pump(Generic[T]):
    """A bounded queue from the thread that produces items to the thread that sends them.

    Parameters
    ----------
    items
        The producer; closed by the thread that runs it.
    check
        Raise if the work has to end.
    stall_seconds
        The time limit for the reader to take an item.
    on_end
        Called once, when the producer has ended and all items were taken or discarded.
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
        self._polled = time.monotonic()  # when the reader last called take
        self._change = threading.Condition()
        self.failure: AlertflightError | None = None  # the error that ended the work early
        self.delivered = self._polled  # when the reader last got an item

    def run(self) -> None:
        """Produce items until there are no more, or the pump is closed."""
        failure: AlertflightError | None = None
        try:
            try:
                for item in self._items:
                    self._put(item)
            finally:
                close = getattr(self._items, "close", None)
                if close is not None:
                    close()
            self._await_reader(0, lambda: None)  # no check: the deadline is for the work, not for the reader of the last items
        except _Closed:  # nobody should take any more; who does must not see a regular end
            failure = StreamCancelled("the stream was closed")
        except BaseException as error:  # noqa: BLE001  (raised by take)
            failure = detached(error)
        with self._change:
            self.failure = failure
            self._ended = True
            self._change.notify_all()
        self._on_end()

    def take(self, seconds: float) -> T | None:
        """Return the next item, or None if there is none within the given seconds.

        Raises
        ------
        PumpEnded
            There are no more.
        AlertflightError
            The work ended early.
        """
        with self._change:
            if not self._queue and not self._ended:
                self._change.wait_for(lambda: self._queue or self._ended, seconds)
            self._polled = time.monotonic()
            if self._queue:
                self.delivered = self._polled
                item = self._queue.popleft()
                self._change.notify_all()
                return item
            if not self._ended:
                return None
            if self.failure is not None:
                raise copy(self.failure)  # each one that is raised collects frames of its own
            raise PumpEnded

    def close(self) -> None:
        """Discard the queue and end the work."""
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
                if len(self._queue) > most and time.monotonic() - self._polled > self._stall_seconds:
                    self._queue.clear()
                    message = f"the client read nothing for {self._stall_seconds:g} s: ask again for what did not come"
                    raise DeadlinePassed(message)
            check()
