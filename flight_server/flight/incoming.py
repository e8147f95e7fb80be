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
READ_AHEAD_BYTES = 67_108_864
TOGETHER = 20_000  # rows answered together
TOGETHER_BYTES = 4_194_304
SMALL, SMALL_BYTES = 100, 16_384  # batches below both are joined as they come: each takes some kB besides its rows
MOST_SMALL = 256
CHECK_SECONDS = 0.5


class Incoming:
    """A queue of the schema and batches that a client sends, bounded by rows and bytes.

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
        self._waiting: deque[tuple[pa.RecordBatch, int]] = deque()  # with the bytes that they had when they came
        self._small: list[pa.RecordBatch] = []  # behind those in `_waiting`
        self._rows = 0
        self._bytes = 0
        self._ended = False
        self._dropped = False
        self._failure: AlertflightError | None = None
        self._progressed = time.monotonic()
        self._change = threading.Condition()

    def begin(self, schema: pa.Schema) -> None:
        """Set the schema."""
        with self._change:
            self._schema = schema
            self._note_progress()

    def put(self, batch: pa.RecordBatch) -> None:
        """Add a batch; block while the queue is full. After `drop` it is ignored.

        Raises
        ------
        TooLarge
            The batch is larger than the queue.
        """
        if len(batch) > READ_AHEAD:
            message = f"a batch of {len(batch):,} rows was sent: send at most {READ_AHEAD:,} per batch"
            raise TooLarge(message, field="id", value=len(batch))
        if batch.nbytes > READ_AHEAD_BYTES:
            message = f"a batch of {batch.nbytes:,} bytes was sent: send at most {READ_AHEAD_BYTES:,} per batch"
            raise TooLarge(message, field="id", value=batch.nbytes)
        with self._change:
            while self._rows and not self._has_room(batch):
                self._change.wait(CHECK_SECONDS)
                self._check()
            if self._dropped:
                return
            self._rows += len(batch)
            self._bytes += batch.nbytes
            self._small.append(batch)
            if len(batch) >= SMALL or batch.nbytes >= SMALL_BYTES or len(self._small) >= MOST_SMALL:
                self._join_small()
            self._note_progress()

    def drop(self) -> None:
        """Free the input that was not answered, and ignore all further input."""
        with self._change:
            self._dropped = True
            self._waiting.clear()
            self._small.clear()
            self._rows = self._bytes = 0
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
                self._await(answers, lambda: self._rows > 0 or self._ended)
                if not self._rows:
                    return
                some = self._take()
                self._note_progress()
            yield _joined(some)
            del some  # not kept while the next ones are awaited

    def _take(self) -> list[pa.RecordBatch]:
        """Take the batches that are answered together."""
        if not self._waiting:
            self._join_small()
        some: list[pa.RecordBatch] = []
        rows = size = 0
        while self._waiting:
            batch, bytes_ = self._waiting[0]
            if some and (rows + len(batch) > TOGETHER or size + bytes_ > TOGETHER_BYTES):
                break
            self._waiting.popleft()
            some.append(batch)
            rows += len(batch)
            size += bytes_
            if not self._waiting:
                self._join_small()
        self._rows -= rows
        self._bytes -= size
        return some

    def _join_small(self) -> None:
        if self._small:
            self._waiting.append((_joined(self._small), sum(batch.nbytes for batch in self._small)))
            self._small = []

    def _has_room(self, batch: pa.RecordBatch) -> bool:
        return self._rows + len(batch) <= READ_AHEAD and self._bytes + batch.nbytes <= READ_AHEAD_BYTES

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


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
