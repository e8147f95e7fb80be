"""Connections to servers: one per process and address, opened on demand and closed before a fork.

gRPC does not survive a fork: a call that a child makes while the connections of its parent are open hangs forever. So
before this process forks, its streams are cancelled and its connections dropped, which shuts gRPC down. Afterwards both
processes connect again, and interrupted streams resume from their cursors. Where the shutdown fails, calls in the child
raise an error instead of hanging.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import WeakSet

import pyarrow as pa
import pyarrow.flight as fl

from flight_client.proxies import is_direct
from flight_server.protocol.errors import BadValue, NotSupported

__all__ = ["Interrupted", "OpenExchange", "OpenStream", "calling", "connect", "disconnect"]

OPTIONS = [
    ("grpc.max_reconnect_backoff_ms", 1000),  # find a restarted server soon
    ("grpc.keepalive_time_ms", 310_000),  # detects a dead peer; servers allow one ping in five minutes
    ("grpc.keepalive_timeout_ms", 20_000),
]
NO_PROXY = ("grpc.enable_http_proxy", 0)
# gRPC puts messages anywhere in memory, and Arrow's kernels copy or warn of what is not aligned to its type
ALIGNED = fl.FlightCallOptions(read_options=pa.ipc.IpcReadOptions(ensure_alignment=pa.ipc.Alignment.DataTypeSpecific))
SENT_AT_ONCE = 1000  # rows: the server answers the first ones while the others are sent
CALLS_SECONDS = 20.0  # how long a fork waits for calls in progress
THREADS_SECONDS = 2.0  # how long it waits for the threads of gRPC to end
OTHERS_SECONDS = 0.05
GRPC_THREADS = ("grpc_", "event_engine", "lifeguard")


class Interrupted(Exception):
    """A stream was cancelled, for example for a fork."""


def connect(url: str) -> fl.FlightClient:
    """Connect to a server, such as `grpc://127.0.0.1:8815`; an unreachable one fails at the first call.

    Raises
    ------
    BadValue
        The URL is not an address.
    """
    try:
        return fl.FlightClient(url, generic_options=[*OPTIONS, *([NO_PROXY] if is_direct(url) else [])])
    except (ValueError, KeyError, pa.ArrowException):
        message = f"{url!r:.80} is not the address of a server; give one such as grpc://127.0.0.1:8815"
        raise BadValue(message, field="url", value=url) from None


class OpenStream:
    """The open stream of one answer.

    Parameters
    ----------
    url
        The server.
    ticket
        The ticket.
    """

    def __init__(self, url: str, ticket: bytes) -> None:
        self._reader: fl.FlightStreamReader | None = None
        self._cancelled = False
        with calling(url) as client:
            _here.streams.add(self)
            self._reader = self._ask(client, ticket)
            try:
                self.schema: pa.Schema = self._reader.schema
            except KeyboardInterrupt:
                self._raise_if_cancelled()
                raise

    def _ask(self, client: fl.FlightClient, ticket: bytes) -> fl.FlightStreamReader:
        return client.do_get(fl.Ticket(ticket), ALIGNED)

    def read(self) -> fl.FlightStreamChunk | None:
        """Return the next message, or None at the end.

        Raises
        ------
        Interrupted
            The stream was cancelled, for example for a fork.
        FlightError, ArrowException
            The call failed.
        """
        with _here.call():
            if self._reader is None:
                raise Interrupted
            try:
                return self._reader.read_chunk()
            except StopIteration:
                return None
            except (KeyboardInterrupt, fl.FlightError, pa.ArrowException):
                self._raise_if_cancelled()
                raise

    def _raise_if_cancelled(self) -> None:
        """Raise Interrupted if this process cancelled the stream, which pyarrow reports as a KeyboardInterrupt."""
        if self._cancelled:
            raise Interrupted from None

    def cancel(self) -> None:
        """Cancel the stream; a thread that is reading it gets Interrupted."""
        self._cancelled = True
        if self._reader is not None:
            self._reader.cancel()

    def release(self) -> None:
        """Release the gRPC objects; no thread may be reading."""
        self._reader = None

    def close(self) -> None:
        """Cancel the stream and release it."""
        self.cancel()
        self.release()


class OpenExchange(OpenStream):
    """The open stream of one exchange, whose input is sent completely before any answer is read.

    Parameters
    ----------
    url, ticket
        As for OpenStream; the ticket has no selection.
    sent
        IDs or positions, no more than a server accepts before it waits for its answers to be read.
    """

    def __init__(self, url: str, ticket: bytes, sent: pa.RecordBatch) -> None:
        self._sent = sent
        self._writer: fl.FlightStreamWriter | None = None
        super().__init__(url, ticket)

    def _ask(self, client: fl.FlightClient, ticket: bytes) -> fl.FlightStreamReader:
        self._writer, reader = client.do_exchange(fl.FlightDescriptor.for_command(ticket), ALIGNED)
        # a server that refuses the ticket stops reading; its reason is raised where the answer is read
        with suppress(fl.FlightError, pa.ArrowException):
            self._writer.begin(self._sent.schema)
            for first in range(0, len(self._sent), SENT_AT_ONCE):
                self._writer.write_batch(self._sent.slice(first, SENT_AT_ONCE))
            self._writer.done_writing()
        return reader

    def release(self) -> None:
        """Release the gRPC objects."""
        super().release()
        self._writer = None


class _Connections:
    """The open connections and streams of this process."""

    def __init__(self, *, lame: bool = False) -> None:
        self.streams: WeakSet[OpenStream] = WeakSet()
        self.clients: dict[str, fl.FlightClient] = {}
        self.lame = lame
        self._changed = threading.Condition()
        self._calls = 0
        self._forks = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Run a gRPC call: a fork waits for it to end, and it waits for a fork in progress."""
        with self._changed:
            while self._forks:
                self._changed.wait()
            if self.lame:
                message = "this process was forked while its parent used gRPC (a server, or connections not made by"
                message += " flight_client), so it cannot connect: close them before the fork, or start it with spawn"
                raise NotSupported(message, field="fork")
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    def client(self, url: str) -> fl.FlightClient:
        """Return the connection to a server, which is opened if needed."""
        with self._changed:
            if url not in self.clients:
                self.clients[url] = connect(url)
            return self.clients[url]

    def stop(self) -> None:
        """Cancel all streams and close all connections, before a fork."""
        with self._changed:
            self._forks += 1
            for stream in tuple(self.streams):
                stream.cancel()
            end = time.monotonic() + CALLS_SECONDS
            while self._calls and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            used = bool(self.clients)
            if not self._calls:
                for stream in tuple(self.streams):
                    stream.release()
                self.streams.clear()
                self.clients.clear()
        _wait_for_grpc(THREADS_SECONDS if used else OTHERS_SECONDS)

    def go_on(self) -> None:
        """Allow calls again, after a fork."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()


_here = _Connections()
_before: list[_Connections] = []  # inherited from a parent that could not close them: to destroy them here would hang
_threads_left = False


@contextmanager
def calling(url: str) -> Iterator[fl.FlightClient]:
    """Provide the connection to a server for a short call."""
    with _here.call():
        yield _here.client(url)


def disconnect(url: str) -> None:
    """Close the connection to a server; open streams keep it until they end."""
    _here.clients.pop(url, None)


def _wait_for_grpc(seconds: float) -> None:
    """Wait for the threads of gRPC to end, after which a child can connect again."""
    global _threads_left
    end = time.monotonic() + seconds
    while (_threads_left := _grpc_runs()) and time.monotonic() < end:
        time.sleep(0.001)


def _grpc_runs() -> bool:
    """Return whether threads of gRPC exist; False where the system does not list threads."""
    for task in Path("/proc/self/task").glob("*/comm"):
        try:
            if task.read_text().startswith(GRPC_THREADS):
                return True
        except OSError:  # the thread has just ended
            continue
    return False


def _stop() -> None:
    _here.stop()


def _go_on() -> None:
    _here.go_on()


def _begin_anew() -> None:
    global _here  # noqa: PLW0603  (the child's own)
    if _here.clients:
        _before.append(_here)
    _here = _Connections(lame=_here.lame or bool(_here.clients) or _threads_left)


os.register_at_fork(before=_stop, after_in_parent=_go_on, after_in_child=_begin_anew)
