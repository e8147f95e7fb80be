"""One `do_exchange`: IDs in and rows out at the same time.

Three threads: the RPC handler's reads, a pump's answers, a third one writes. gRPC crashes if a call ends while a thread is
inside of it: on the server while a thread reads or writes, on the client while one thread writes and another one reads the
status of the call. So an error is sent in a message first, further input is read and discarded, and the error is raised
once the client has sent everything.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from copy import copy

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.catalog.columns import empty_batch
from flight_server.execution.exchange import Exchange
from flight_server.execution.messages import Message
from flight_server.flight import pump as pumping
from flight_server.flight.errors import detached, to_domain
from flight_server.flight.incoming import Incoming
from flight_server.flight.pump import Pump, PumpEnded
from flight_server.flight.wire import encode_metadata, ipc_options
from flight_server.protocol.errors import AlertflightError, InvalidTicket, StreamCancelled
from flight_server.service.streams import Stream

__all__ = ["Conversation", "refuse"]

BROKEN = (fl.FlightError, pa.ArrowException, OSError)  # raised by gRPC if the other side has disconnected
NOTHING = pa.schema([])


def refuse(reader: fl.MetadataRecordBatchReader, writer: fl.MetadataRecordBatchWriter, error: AlertflightError) -> None:
    """Send an error before any answer, and wait until the client has sent everything."""
    with suppress(*BROKEN):
        writer.begin(NOTHING)
    _send_error(writer, error, NOTHING)
    with suppress(StreamCancelled):
        for _ in _sent(reader):
            pass


class Conversation:
    """One exchange: reads batches and writes answers until both sides are done.

    Parameters
    ----------
    reader, writer
        The two directions of the stream.
    begin
        Return the exchange of the archive, given the schema of the client's batches.
    stream
        The open stream; closed when answering has ended, even if gRPC's threads still wait.
    stall_seconds
        The time limit without progress in either direction.
    check
        Raise if the caller has hung up or the stream is cancelled.
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
        self._stream = stream
        self._pump: Pump[Exchange | Message] = Pump(self._answers(), self._check_open, stall_seconds, self._free)
        self._failure: Future[None] = Future()

    def run(self, threads: Executor) -> None:
        """Run until both sides are done.

        Raises
        ------
        AlertflightError
            The error that ended the exchange early.
        """
        threads.submit(self._pump.run)
        # a thread outside of the pool: a client that stops reading can block it for any time
        writing = threading.Thread(target=self._write, name="exchange", daemon=True)
        writing.start()
        self._read()
        writing.join()
        self._failure.result()

    def _free(self) -> None:
        """Free what answering needed: gRPC's threads may wait for the client long after that."""
        self._incoming.drop()
        self._stream.close()

    def _check_open(self) -> None:
        self._check_caller()
        if self._pump.failure is not None:
            raise copy(self._pump.failure)
        if self._failure.done():
            self._failure.result()

    def _read(self) -> None:
        """Read all that the client sends; discard it after a failure."""
        try:
            self._incoming.begin(_schema(self._reader))
            for batch in _sent(self._reader):
                if not self._failure.done():
                    self._incoming.put(batch)
            self._incoming.end()
        except Exception as error:  # noqa: BLE001  (raised when the other threads are done)
            self._incoming.fail(detached(error))
            with suppress(StreamCancelled):
                for _ in _sent(self._reader):
                    pass

    def _answers(self) -> Iterator[Exchange | Message]:
        """Yield the exchange, then its messages."""
        exchange = self._begin(self._incoming.schema(self._pump))
        yield exchange
        for batch in self._incoming.batches(self._pump):
            yield from exchange.answer(batch)
        yield from exchange.end()

    def _write(self) -> None:
        """Write the answers, and empty batches as keep-alive."""
        exchange: Exchange | None = None
        schema = NOTHING
        is_whole = False  # the record was sent: nothing may come behind it
        try:
            while True:
                item = self._pump.take(pumping.KEEP_ALIVE_SECONDS)
                if isinstance(item, Exchange):
                    exchange, schema = item, item.schema
                    self._writer.begin(schema, options=ipc_options(exchange.query))
                elif exchange is not None and not (item is None and is_whole):
                    self._send(Message(empty_batch(schema)) if item is None else item)
                    is_whole = item is not None and item.is_last
        except PumpEnded:
            self._failure.set_result(None)
        except Exception as error:  # noqa: BLE001  (raised by the handler's thread)
            domain = StreamCancelled("the caller hung up") if isinstance(error, BROKEN) else to_domain(error)
            self._failure.set_exception(domain)
            self._pump.close()
            if exchange is None:
                with suppress(*BROKEN):
                    self._writer.begin(NOTHING)
            _send_error(self._writer, domain, schema)

    def _send(self, message: Message) -> None:
        metadata = encode_metadata(message)
        if metadata is None:
            self._writer.write_batch(message.batch)
        else:
            self._writer.write_with_metadata(message.batch, metadata)


def _schema(reader: fl.MetadataRecordBatchReader) -> pa.Schema:
    try:
        return reader.schema
    except (pa.ArrowException, StopIteration, OSError) as error:
        message = "no batches were sent: send some with a column id, or with ra, dec and radius"
        raise InvalidTicket(message, field="columns") from error


def _sent(reader: fl.MetadataRecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches that a client sends, without empty ones."""
    while True:
        try:
            batch = reader.read_chunk().data
        except StopIteration:
            return
        except BROKEN as error:
            raise StreamCancelled(f"the client's stream cannot be read: {str(error).splitlines()[0]}") from error
        if batch is not None and len(batch):
            yield batch


def _send_error(writer: fl.MetadataRecordBatchWriter, error: AlertflightError, schema: pa.Schema) -> None:
    """Send an error in the metadata of a message."""
    with suppress(*BROKEN):  # the client may have disconnected
        writer.write_with_metadata(empty_batch(schema), json.dumps({"error": error.info()}).encode())
