"""What the client of an exchange sends, between the thread that reads it and the one that answers it."""

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

READ_AHEAD = 100_000  # rows that were sent and are not answered yet
TOGETHER = 20_000  # rows that are answered together
CHECK_SECONDS = 0.5


class Incoming:
    """The schema and the batches that a client sends, in a queue that is bounded by its rows.

    Parameters
    ----------
    stall_seconds
        How long neither direction of the exchange may move.
    check
        Raises where the exchange is over.
    """

    def __init__(self, stall_seconds: float, check: Callable[[], None]) -> None:
        self._stall_seconds = stall_seconds
        self._check = check
        self._schema: pa.Schema | None = None
        self._waiting: deque[pa.RecordBatch] = deque()
        self._rows = 0
        self._ended = False
        self._failure: AlertflightError | None = None
        self._moved = time.monotonic()
        self._change = threading.Condition()

    def begin(self, schema: pa.Schema) -> None:
        """Take in the schema."""
        with self._change:
            self._schema = schema
            self._move()

    def put(self, batch: pa.RecordBatch) -> None:
        """Take in a batch once there is room.

        Raises
        ------
        TooLarge
            There is never room for so many rows at once.
        """
        if len(batch) > READ_AHEAD:
            message = f"a batch of {len(batch):,} rows was sent: send at most {READ_AHEAD:,} at once"
            raise TooLarge(message, field="id", value=len(batch))
        with self._change:
            while self._rows and self._rows + len(batch) > READ_AHEAD:
                self._change.wait(CHECK_SECONDS)
                self._check()
            self._waiting.append(batch)
            self._rows += len(batch)
            self._move()

    def end(self) -> None:
        """Note that nothing more comes."""
        with self._change:
            self._ended = True
            self._move()

    def fail(self, error: AlertflightError) -> None:
        """Note that what was sent cannot be taken in."""
        with self._change:
            self._failure = error
            self._move()

    def schema(self, answers: Pump[Any]) -> pa.Schema:
        """Wait for the schema; see `batches`."""
        with self._change:
            self._await(answers, lambda: self._schema is not None)
            return self._schema

    def batches(self, answers: Pump[Any]) -> Iterator[pa.RecordBatch]:
        """Yield what came in, some batches at once, until no more comes.

        Parameters
        ----------
        answers
            The other direction.

        Raises
        ------
        DeadlinePassed
            Neither direction moved for `stall_seconds`.
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
                self._move()
            yield some[0] if len(some) == 1 else pa.concat_batches(some)

    def _move(self) -> None:
        self._moved = time.monotonic()
        self._change.notify_all()

    def _await(self, answers: Pump[Any], is_there: Callable[[], bool]) -> None:
        while not is_there():
            if self._failure is not None:
                raise self._failure
            self._change.wait(min(CHECK_SECONDS, self._stall_seconds))
            self._check()
            if not is_there() and time.monotonic() - max(self._moved, answers.delivered) > self._stall_seconds:
                message = f"neither side of the exchange moved for {self._stall_seconds:g} s"
                raise DeadlinePassed(f"{message}: read while you write, and end when done")
        if self._failure is not None:
            raise self._failure
