"""Connections to servers: one a process and address, made when they are needed and let go of before a fork.

gRPC does not survive a fork: a call that a child makes while its parent's connections are open hangs for ever. So
before this process forks, its streams are cancelled and its connections dropped, which ends gRPC as a whole; both
sides connect again when they go on, and streams under way go on from their cursors. Where that cannot be done the
child is told so instead of hanging.
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

from flight_server.protocol.errors import BadValue, NotSupported

__all__ = ["Interrupted", "OpenExchange", "OpenStream", "calling", "connect", "disconnect"]

OPTIONS = [
    ("grpc.max_reconnect_backoff_ms", 1000),  # a server that comes back is found soon
    ("grpc.keepalive_time_ms", 310_000),  # a peer that is gone without a word; servers allow one ping in five minutes
    ("grpc.keepalive_timeout_ms", 20_000),
]
SENT_AT_ONCE = 1000  # rows: the first of them are answered while the others come
CALLS_SECONDS = 20.0  # how long a fork waits for calls under way
THREADS_SECONDS = 2.0  # and for the threads of gRPC, which end by themselves
OTHERS_SECONDS = 0.05
GRPC_THREADS = ("grpc_", "event_engine", "lifeguard")


class Interrupted(Exception):
    """A stream was let go of for a fork."""


def connect(url: str) -> fl.FlightClient:
    """Connect to a server, such as `grpc://127.0.0.1:8815`; that there is none shows with the first call.

    Raises
    ------
    BadValue
        That is no address.
    """
    try:
        return fl.FlightClient(url, generic_options=OPTIONS)
    except (ValueError, KeyError, pa.ArrowException):
        message = f"{url!r:.80} is no address of a server, such as grpc://127.0.0.1:8815"
        raise BadValue(message, field="url", value=url) from None


class OpenStream:
    """One answer on its way.

    Parameters
    ----------
    url
        The server.
    ticket
        What to ask it.
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
                self._tell_apart()
                raise

    def _ask(self, client: fl.FlightClient, ticket: bytes) -> fl.FlightStreamReader:
        return client.do_get(fl.Ticket(ticket))

    def read(self) -> fl.FlightStreamChunk | None:
        """Give the next message, or None at the end.

        Raises
        ------
        Interrupted
            The stream was let go of for a fork.
        FlightError, ArrowException
            As gRPC has it.
        """
        with _here.call():
            if self._reader is None:
                raise Interrupted
            try:
                return self._reader.read_chunk()
            except StopIteration:
                return None
            except (KeyboardInterrupt, fl.FlightError, pa.ArrowException):
                self._tell_apart()
                raise

    def _tell_apart(self) -> None:
        """Raise Interrupted if it was this side that cancelled, which pyarrow tells as a KeyboardInterrupt."""
        if self._cancelled:
            raise Interrupted from None

    def cancel(self) -> None:
        """End the answer; who reads it in another thread meets Interrupted."""
        self._cancelled = True
        if self._reader is not None:
            self._reader.cancel()

    def let_go(self) -> None:
        """Give up what gRPC holds for it; nobody may be reading."""
        self._reader = None

    def close(self) -> None:
        """Hang up."""
        self.cancel()
        self.let_go()


class OpenExchange(OpenStream):
    """One answer on its way to what is sent as a whole, before anything is read.

    Parameters
    ----------
    url, ticket
        As for OpenStream; the ticket has no selection.
    sent
        IDs or places, no more than a server takes in before it waits for its answers to be read.
    """

    def __init__(self, url: str, ticket: bytes, sent: pa.RecordBatch) -> None:
        self._sent = sent
        self._writer: fl.FlightStreamWriter | None = None
        super().__init__(url, ticket)

    def _ask(self, client: fl.FlightClient, ticket: bytes) -> fl.FlightStreamReader:
        self._writer, reader = client.do_exchange(fl.FlightDescriptor.for_command(ticket))
        # a server that refuses takes nothing in, and says why where its answer is read
        with suppress(fl.FlightError, pa.ArrowException):
            self._writer.begin(self._sent.schema)
            for first in range(0, len(self._sent), SENT_AT_ONCE):
                self._writer.write_batch(self._sent.slice(first, SENT_AT_ONCE))
            self._writer.done_writing()
        return reader

    def let_go(self) -> None:
        """Give up what gRPC holds for it."""
        super().let_go()
        self._writer = None


class _Connections:
    """What this process has open."""

    def __init__(self, *, lame: bool = False) -> None:
        self.streams: WeakSet[OpenStream] = WeakSet()
        self.clients: dict[str, fl.FlightClient] = {}
        self.lame = lame
        self._changed = threading.Condition()
        self._calls = 0
        self._forks = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Be in a call of gRPC, for which a fork waits, and which waits for a fork."""
        with self._changed:
            while self._forks:
                self._changed.wait()
            if self.lame:
                message = "this process was forked while gRPC was at work in its parent (a server, or connections that"
                message += " are not of flight_client), and cannot connect: close them first, or start it with spawn"
                raise NotSupported(message, field="fork")
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    def client(self, url: str) -> fl.FlightClient:
        """Give the connection to a server."""
        with self._changed:
            if url not in self.clients:
                self.clients[url] = connect(url)
            return self.clients[url]

    def stop(self) -> None:
        """Let go of everything, for a fork."""
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
                    stream.let_go()
                self.streams.clear()
                self.clients.clear()
        _wait_for_grpc(THREADS_SECONDS if used else OTHERS_SECONDS)

    def go_on(self) -> None:
        """Take calls again, after a fork."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()


_here = _Connections()
_before: list[_Connections] = []  # of a parent that could not let go of them: to destroy them here would hang
_threads_left = False


@contextmanager
def calling(url: str) -> Iterator[fl.FlightClient]:
    """Have the connection to a server for a call that comes back soon."""
    with _here.call():
        yield _here.client(url)


def disconnect(url: str) -> None:
    """Let go of the connection to a server; streams under way keep it until they end."""
    _here.clients.pop(url, None)


def _wait_for_grpc(seconds: float) -> None:
    """Wait for gRPC's threads to end, which says that a child can begin anew."""
    global _threads_left
    end = time.monotonic() + seconds
    while (_threads_left := _grpc_runs()) and time.monotonic() < end:
        time.sleep(0.001)


def _grpc_runs() -> bool:
    """Say whether gRPC has threads; False where the system does not tell."""
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
