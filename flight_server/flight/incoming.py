"""The input queue of an exchange, between the thread that reads and the thread that answers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from flight_server.flight.pump import Pump
from flight_server.protocol.errors import AlertflightError, DeadlinePassed, TooLarge

__all__ = ["READ_AHEAD", "Incoming"]

READ_AHEAD = 100_000  # rows in the queue
TOGETHER = 20_000  # rows answered together
CHECK_SECONDS = 0.5


class Incoming:
    """A queue of the schema and batches that a client sends, bounded by rows.

    Parameters
    ----------
    stall_seconds
        The time limit without progress in either direction of the exchange.
    check
        Raise if the exchange is over.
    """

    def __init__(self, stall_seconds: float, check: Callable[[], None]) -> None:
        self._stall_seconds = stall_seconds
        self._check = check
        self._schema: pa.Schema | None = None
        self._waiting: deque[pa.RecordBatch] = deque()
        self._rows = 0
        self._ended = False
        self._failure: AlertflightError | None = None
        self._progressed = time.monotonic()
        self._change = threading.Condition()

    def begin(self, schema: pa.Schema) -> None:
        """Set the schema."""
        with self._change:
            self._schema = schema
            self._note_progress()

    def put(self, batch: pa.RecordBatch) -> None:
        """Add a batch; block while the queue is full.

        Raises
        ------
        TooLarge
            The batch is larger than the queue.
        """
        if len(batch) > READ_AHEAD:
            message = f"a batch of {len(batch):,} rows was sent: send at most {READ_AHEAD:,} per batch"
            raise TooLarge(message, field="id", value=len(batch))
        with self._change:
            while self._rows and self._rows + len(batch) > READ_AHEAD:
                self._change.wait(CHECK_SECONDS)
                self._check()
            self._waiting.append(batch)
            self._rows += len(batch)
            self._note_progress()

    def end(self) -> None:
        """Mark the end of the input."""
        with self._change:
            self._ended = True
            self._note_progress()

    def fail(self, error: AlertflightError) -> None:
        """Mark the input as failed."""
        with self._change:
            self._failure = error
            self._note_progress()

    def schema(self, answers: Pump[Any]) -> pa.Schema:
        """Wait for the schema; see `batches`."""
        with self._change:
            self._await(answers, lambda: self._schema is not None)
            return self._schema

    def batches(self, answers: Pump[Any]) -> Iterator[pa.RecordBatch]:
        """Yield the input, small batches joined, until its end.

        Parameters
        ----------
        answers
            The other direction of the exchange.

        Raises
        ------
        DeadlinePassed
            There was no progress in either direction for `stall_seconds`.
        """
        while True:
            with self._change:
                self._await(answers, lambda: bool(self._waiting) or self._ended)
                if not self._waiting:
                    return
                some = [self._waiting.popleft()]
                while self._waiting and sum(map(len, some)) + len(self._waiting[0]) <= TOGETHER:
                    some.append(self._waiting.popleft())
                self._rows -= sum(map(len, some))
                self._note_progress()
            yield some[0] if len(some) == 1 else pa.concat_batches(some)

    def _note_progress(self) -> None:
        self._progressed = time.monotonic()
        self._change.notify_all()

    def _await(self, answers: Pump[Any], is_there: Callable[[], bool]) -> None:
        while not is_there():
            if self._failure is not None:
                raise self._failure
            self._change.wait(min(CHECK_SECONDS, self._stall_seconds))
            self._check()
            if not is_there() and time.monotonic() - max(self._progressed, answers.delivered) > self._stall_seconds:
                message = f"neither side of the exchange made progress for {self._stall_seconds:g} s"
                raise DeadlinePassed(f"{message}: read answers while you write, and end the stream when done")
        if self._failure is not None:
            raise self._failure
