"""The streams of do_get: gRPC's own thread makes small quick answers, a pump all others."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Self, TypeAlias

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.execution.archive import Archive
from flight_server.execution.messages import Message
from flight_server.flight import pump as pumping
from flight_server.flight.calls import Call
from flight_server.flight.errors import to_flight
from flight_server.flight.pump import Pump, PumpEnded
from flight_server.flight.wire import encode_metadata, ipc_options
from flight_server.protocol.errors import StreamCancelled
from flight_server.protocol.query import Query
from flight_server.service.streams import Stream, Streams

__all__ = ["Reads"]

INLINE = 3  # messages of a quick answer that are made before the first one leaves; two with rows, then the record

Sent: TypeAlias = tuple[pa.RecordBatch, bytes | None]  # a message as gRPC sends it


@dataclass(frozen=True, slots=True)
class Reads:
    """Factory of the streams of do_get.

    Parameters
    ----------
    archive, streams, threads
        The archive, the open streams, and the threads of the pumps.
    stall_seconds
        The time limit for a client to read a message.
    """

    archive: Archive
    streams: Streams
    threads: Executor
    stall_seconds: float

    def begin(self, query: Query, call: Call) -> fl.GeneratorStream:
        """Begin the stream that answers a query.

        Raises
        ------
        AlertflightError
            The query is refused, or its first rows cannot be read.
        """
        stream = self.streams.stream(query.plan)
        caller = call.caller()
        gone = caller.cancelled
        try:
            stream.open()
            answer = self.archive.answer(query, replace(caller, cancelled=lambda: stream.cancelled or gone()))
            messages = _cancellable(answer.messages, stream)
            # to hand over to a pump takes longer than to make a small answer
            ready, is_whole = _first(messages, INLINE if answer.is_quick else 0)
        except BaseException:
            stream.close()
            call.end()
            raise
        outlet: Iterator[Sent]
        if is_whole:
            stream.close()
            call.end()
            outlet = map(_encode, ready)
        else:

            def check() -> None:
                stream.check()
                answer.deadline.check()

            pump = Pump(messages, check, self.stall_seconds, stream.close)
            self.threads.submit(pump.run)
            outlet = _Outlet(ready, pump, answer.plan.shape.empty, call)
        return fl.GeneratorStream(answer.schema, outlet, options=ipc_options(query))


class _Outlet:
    """The iterator that gRPC reads: messages of a pump, and empty batches as keep-alive."""

    def __init__(self, ready: deque[Message], pump: Pump[Message], empty: pa.RecordBatch, call: Call) -> None:
        self._ready = ready
        self._is_whole = False  # the record was sent: nothing may come behind it
        self._pump = pump
        self._empty = empty
        self._call = call

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Sent:
        if self._ready:
            return _encode(self._ready.popleft())
        try:
            message = self._pump.take(pumping.KEEP_ALIVE_SECONDS)
            while message is None and self._is_whole:
                message = self._pump.take(pumping.KEEP_ALIVE_SECONDS)
        except PumpEnded:
            self._call.end()
            raise StopIteration from None
        except Exception as error:  # noqa: BLE001  (clients get Flight errors only)
            self._call.end()
            failure = to_flight(error)
        else:
            if message is None:
                return self._empty, None
            self._is_whole = message.is_last
            return _encode(message)
        raise failure

    def __del__(self) -> None:
        # gRPC drops the stream if the client has disconnected, possibly before the first message
        self._pump.close()
        self._call.end()


def _encode(message: Message) -> Sent:
    return message.batch, encode_metadata(message)


def _cancellable(messages: Generator[Message, None, None], stream: Stream) -> Iterator[Message]:
    """Yield messages until their plan is cancelled; close the generator at the end."""
    try:
        for message in messages:
            stream.check()
            yield message
    except StreamCancelled:
        stream.check()  # raises the more specific error, if the plan was cancelled
        raise
    finally:
        messages.close()


def _first(messages: Iterator[Message], most: int) -> tuple[deque[Message], bool]:
    """Return the first messages, at most so many, and whether they are all."""
    taken: deque[Message] = deque()
    while len(taken) < most:
        taken.append(next(messages))
        if taken[-1].is_last:
            for _ in messages:
                pass
            return taken, True
    return taken, False
