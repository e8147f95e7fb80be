"""One `do_exchange`: IDs in, rows out, both at once.

The handler's own thread reads, a pump's thread answers, a third one writes. Neither side's gRPC bears that a call ends
while a thread is inside it: a server's thread that reads or writes crashes then, and so does a client's that writes while
another one reads how the call ended. So an error is told in a message first, what is still sent is read and thrown away,
and the error is raised once the client has sent all.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.catalog.columns import empty_batch
from flight_server.execution.exchange import Exchange
from flight_server.execution.messages import Message
from flight_server.flight import pump as pumping
from flight_server.flight.errors import to_domain
from flight_server.flight.incoming import Incoming
from flight_server.flight.pump import Pump, PumpEnded
from flight_server.flight.wire import encode_metadata, ipc_options
from flight_server.protocol.errors import AlertflightError, InvalidTicket, StreamCancelled
from flight_server.service.streams import Stream

__all__ = ["Conversation", "refuse"]

BROKEN = (fl.FlightError, pa.ArrowException, OSError)  # what gRPC raises where the other side has gone
NOTHING = pa.schema([])


def refuse(reader: fl.MetadataRecordBatchReader, writer: fl.MetadataRecordBatchWriter, error: AlertflightError) -> None:
    """Say what is wrong before anything was answered, and wait until the client has sent all."""
    with suppress(*BROKEN):
        writer.begin(NOTHING)
    _tell(writer, error, NOTHING)
    with suppress(StreamCancelled):
        for _ in _sent(reader):
            pass


class Conversation:
    """Reads what a client sends and writes the answers, until either side is done.

    Parameters
    ----------
    reader, writer
        The two directions of the stream.
    begin
        Return what answers, given the columns that are sent.
    stream
        The place that the exchange has; given back when nothing is answered any more, whatever gRPC's threads wait for.
    stall_seconds
        How long neither direction may move.
    check
        Raises where nobody waits any more.
    """

    def __init__(
        self,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.MetadataRecordBatchWriter,
        *,
        begin: Callable[[pa.Schema], Exchange],
        stream: Stream,
        stall_seconds: float,
        check: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._begin = begin
        self._incoming = Incoming(stall_seconds, self._check_open)
        self._check_caller = check
        self._pump: Pump[Exchange | Message] = Pump(self._answers(), self._check_open, stall_seconds, stream.close)
        self._failure: Future[None] = Future()

    def run(self, threads: Executor) -> None:
        """Run until both sides are done.

        Raises
        ------
        AlertflightError
            What ended it early.
        """
        threads.submit(self._pump.run)
        # a thread of its own: a client that stops reading holds it for as long as it likes
        writing = threading.Thread(target=self._write, name="exchange", daemon=True)
        writing.start()
        self._read()
        writing.join()
        self._failure.result()

    def _check_open(self) -> None:
        self._check_caller()
        if self._pump.failure is not None:
            raise self._pump.failure
        if self._failure.done():
            self._failure.result()

    def _read(self) -> None:
        """Take in all that the client sends; after a failure it is thrown away."""
        try:
            self._incoming.begin(_schema(self._reader))
            for batch in _sent(self._reader):
                if not self._failure.done():
                    self._incoming.put(batch)
            self._incoming.end()
        except Exception as error:  # noqa: BLE001  (it is raised when the other threads are done)
            self._incoming.fail(to_domain(error))
            with suppress(StreamCancelled):
                for _ in _sent(self._reader):
                    pass

    def _answers(self) -> Iterator[Exchange | Message]:
        """Yield what answers, and then its messages."""
        exchange = self._begin(self._incoming.schema(self._pump))
        yield exchange
        for asked in self._incoming.batches(self._pump):
            yield from exchange.answer(asked)
        yield from exchange.end()

    def _write(self) -> None:
        """Write the answers, and empty batches while none come."""
        exchange: Exchange | None = None
        schema = NOTHING
        try:
            while True:
                item = self._pump.take(pumping.KEEP_ALIVE_SECONDS)
                if isinstance(item, Exchange):
                    exchange, schema = item, item.schema
                    self._writer.begin(schema, options=ipc_options(exchange.query))
                elif exchange is not None:
                    self._send(Message(empty_batch(schema)) if item is None else item)
        except PumpEnded:
            self._failure.set_result(None)
        except Exception as error:  # noqa: BLE001  (the handler's thread raises it)
            domain = StreamCancelled("the caller went away") if isinstance(error, BROKEN) else to_domain(error)
            self._failure.set_exception(domain)
            self._pump.close()
            if exchange is None:
                with suppress(*BROKEN):
                    self._writer.begin(NOTHING)
            _tell(self._writer, domain, schema)

    def _send(self, message: Message) -> None:
        beside = encode_metadata(message)
        if beside is None:
            self._writer.write_batch(message.batch)
        else:
            self._writer.write_with_metadata(message.batch, beside)


def _schema(reader: fl.MetadataRecordBatchReader) -> pa.Schema:
    try:
        return reader.schema
    except (pa.ArrowException, StopIteration, OSError) as error:
        message = "nothing was sent that could be asked for: send batches with a column id, or ra, dec and radius"
        raise InvalidTicket(message, field="columns") from error


def _sent(reader: fl.MetadataRecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches that a client sends, empty ones left out."""
    while True:
        try:
            batch = reader.read_chunk().data
        except StopIteration:
            return
        except BROKEN as error:
            raise StreamCancelled(f"what was sent cannot be read: {str(error).splitlines()[0]}") from error
        if batch is not None and len(batch):
            yield batch


def _tell(writer: fl.MetadataRecordBatchWriter, error: AlertflightError, schema: pa.Schema) -> None:
    """Say in a message what went wrong."""
    with suppress(*BROKEN):  # nobody may be there to hear it
        writer.write_with_metadata(empty_batch(schema), json.dumps({"error": error.info()}).encode())
