"""One `do_exchange`: IDs in, rows out, both at once.

The handler's own thread reads, a second one answers. Neither side's gRPC bears that a call ends while a thread is inside
it: a server's thread that reads or writes crashes then, and so does a client's that writes while another one reads how
the call ended. So an error is told in a message first, what is still sent is read and thrown away, and the error is raised
once the client has sent all.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.catalog.catalog import empty_batch
from flight_server.execution.exchange import Exchange
from flight_server.execution.messages import Message
from flight_server.flight.errors import to_domain
from flight_server.flight.wire import encode_metadata, ipc_options
from flight_server.protocol.errors import AlertflightError, DeadlinePassed, StreamCancelled, TooLarge

__all__ = ["READ_AHEAD", "Conversation", "refuse"]

READ_AHEAD = 100_000  # rows that were sent and are not answered yet
TOGETHER = 20_000  # rows that are answered together
LOOK_SECONDS = 0.5


def refuse(reader: fl.MetadataRecordBatchReader, writer: fl.MetadataRecordBatchWriter, error: AlertflightError) -> None:
    """Say what is wrong before anything was answered, and wait until the client has sent all."""
    nothing = pa.schema([])
    writer.begin(nothing)
    tell(writer, error, nothing)
    for _ in sent(reader):
        pass


def sent(reader: fl.MetadataRecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Give the batches that a client sends, empty ones left out."""
    while True:
        try:
            batch = reader.read_chunk().data
        except StopIteration:
            return
        except (fl.FlightError, pa.ArrowException, OSError) as error:
            raise StreamCancelled(f"what was sent cannot be read: {str(error).splitlines()[0]}") from error
        if batch is not None and len(batch):
            yield batch


def tell(writer: fl.MetadataRecordBatchWriter, error: AlertflightError, schema: pa.Schema) -> None:
    """Say in a message what went wrong."""
    with suppress(fl.FlightError, pa.ArrowException, OSError):  # nobody may be there to hear it
        writer.write_with_metadata(empty_batch(schema), json.dumps({"error": error.info()}).encode())


class Conversation:
    """Reads what a client sends and writes the answers, until either side is done.

    Parameters
    ----------
    reader, writer
        The two directions of the stream.
    exchange
        What answers.
    stall_seconds
        How long neither direction may move.
    check
        Raises where nobody waits any more.
    """

    def __init__(
        self,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.MetadataRecordBatchWriter,
        exchange: Exchange,
        stall_seconds: float,
        check: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._exchange = exchange
        self._stall_seconds = stall_seconds
        self._check = check
        self._waiting: deque[pa.RecordBatch] = deque()
        self._rows = 0
        self._ended = False  # nothing more comes in
        self._failure: AlertflightError | None = None
        self._moved = time.monotonic()
        self._change = threading.Condition()

    def run(self) -> None:
        """Hold it from beginning to end.

        Raises
        ------
        AlertflightError
            What ended it early.
        """
        self._writer.begin(self._exchange.schema, options=ipc_options(self._exchange.query))
        answering = threading.Thread(target=self._answer, name="exchange", daemon=True)
        answering.start()
        self._read()
        with self._change:
            self._ended = True
            self._change.notify_all()
        answering.join()
        if self._failure is not None:
            raise self._failure

    def _read(self) -> None:
        try:
            for batch in sent(self._reader):
                if len(batch) > READ_AHEAD:
                    message = f"a batch of {len(batch):,} rows was sent: send at most {READ_AHEAD:,} at once"
                    self._fail(TooLarge(message, field="id", value=len(batch)))
                self._put(batch)
        except Exception as error:  # noqa: BLE001  (it is raised when the other thread is done)
            self._fail(to_domain(error))

    def _put(self, batch: pa.RecordBatch) -> None:
        """Take a batch in once there is room; after a failure it is thrown away."""
        with self._change:
            while self._failure is None and self._rows and self._rows + len(batch) > READ_AHEAD:
                self._change.wait(LOOK_SECONDS)
                if self._is_stalled():
                    self._failure = self._stalled()
            if self._failure is None:
                self._waiting.append(batch)
                self._rows += len(batch)
                self._moved = time.monotonic()
                self._change.notify_all()

    def _answer(self) -> None:
        try:
            for asked in self._asked():
                for message in self._exchange.answer(asked):
                    self._write(message)
            for message in self._exchange.end():
                self._write(message)
        except Exception as error:  # noqa: BLE001  (the handler's thread raises it)
            self._fail(to_domain(error))
            if self._failure is not None:
                tell(self._writer, self._failure, self._exchange.schema)

    def _asked(self) -> Iterator[pa.RecordBatch]:
        """Give what came in, some batches at once, until no more comes."""
        while True:
            with self._change:
                while not self._waiting and not self._ended:
                    self._change.wait(LOOK_SECONDS)
                    self._check()
                    if self._failure is None and self._is_stalled():
                        raise self._stalled()
                if self._failure is not None:
                    raise self._failure
                if not self._waiting:
                    return
                some = [self._waiting.popleft()]
                while self._waiting and sum(map(len, some)) + len(self._waiting[0]) <= TOGETHER:
                    some.append(self._waiting.popleft())
                self._rows -= sum(map(len, some))
                self._moved = time.monotonic()
                self._change.notify_all()
            yield some[0] if len(some) == 1 else pa.concat_batches(some)

    def _write(self, message: Message) -> None:
        if self._failure is not None:
            raise self._failure
        self._check()
        try:
            beside = encode_metadata(message)
            if beside is None:
                self._writer.write_batch(message.batch)
            else:
                self._writer.write_with_metadata(message.batch, beside)
        except (fl.FlightError, pa.ArrowException, OSError) as error:
            raise StreamCancelled("the caller went away") from error
        with self._change:
            self._moved = time.monotonic()

    def _fail(self, error: AlertflightError) -> None:
        with self._change:
            if self._failure is None:
                self._failure = error
            self._change.notify_all()

    def _is_stalled(self) -> bool:
        return time.monotonic() - self._moved > self._stall_seconds

    def _stalled(self) -> DeadlinePassed:
        message = f"neither side of the exchange moved for {self._stall_seconds:g} s: read while you write, and end when done"
        return DeadlinePassed(message)
