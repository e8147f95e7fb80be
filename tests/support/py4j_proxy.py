"""A proxy between Python and the gateway that parses py4j's calls and replies.

A request is some lines, the last of them `e`, or `A` and a token; its reply is one line. They take turns on a
connection, so the proxy reads a request, hands it on, reads the reply, and does with it what it was told.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Literal

__all__ = ["Called", "Deed", "Proxy"]

Deed = Literal["pass", "drop", "hold", "cut", "twice", "break"]
CALL = b"c\n"
AUTHENTICATION = b"A\n"
END = b"e\n"


@dataclass(frozen=True)
class Called:
    """One request that passed: its number among the calls of its operation, and the fate of its reply."""

    operation: str
    number: int
    request: bytes
    deed: Deed


class Proxy:
    """A proxy of the ports that `reached_at` is called with.

    Deeds: `drop` closes the connection in place of the reply, `hold` keeps the reply until `release`, `cut` sends
    half of it and closes, `twice` sends it two times, `break` closes before the request has gone on.

    Parameters
    ----------
    choose
        Says what to do with the reply to a call: given its operation and the how-manieth it is, from 1.
    """

    def __init__(self, choose: Callable[[str, int], Deed] = lambda _operation, _number: "pass") -> None:
        self.choose: Callable[[str, int], Deed] = choose
        self.called: list[Called] = []
        self.connections = 0
        self._counts: dict[str, itertools.count[int]] = {}
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._servers: list[socket.socket] = []
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def reached_at(self, port: int) -> int:
        """Listen in front of a gateway's port; return the port to use instead."""
        server = socket.create_server(("127.0.0.1", 0))
        self._servers.append(server)
        self._start(lambda: self._accept(server, port))
        return int(server.getsockname()[1])

    def begin(self) -> None:
        """Let all replies pass from now on, and clear the history."""
        with self._lock:
            self.choose = lambda _operation, _number: "pass"
            self.called.clear()

    def deeds(self, deed: Deed) -> list[Called]:
        with self._lock:
            return [one for one in self.called if one.deed == deed]

    def release(self) -> None:
        """Release the held replies."""
        self._released.set()

    def close(self) -> None:
        self.release()
        for server in self._servers:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, server: socket.socket, port: int) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            self.connections += 1
            self._start(lambda near=near: self._serve(near, port))  # type: ignore[misc]

    def _serve(self, near: socket.socket, port: int) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as far:
            with self._lock:
                self._open += [near, far]
            with near.makefile("rb") as requests, far.makefile("rb") as replies:
                while request := _read_request(requests):
                    if not self._pass_on(near, far, replies, request):
                        return

    def _pass_on(self, near: socket.socket, far: socket.socket, replies: BinaryIO, request: bytes) -> bool:
        """Forward one request and its reply; return whether the connection stays open."""
        deed = self._note(request)
        if deed == "break":
            return False
        far.sendall(request)
        reply = replies.readline()
        if deed == "drop" or not reply:
            return False
        if deed == "hold":
            self._released.wait()
        if deed == "cut":
            near.sendall(reply[: len(reply) // 2])
            return False
        near.sendall(reply * (2 if deed == "twice" else 1))
        return True

    def _note(self, request: bytes) -> Deed:
        operation = _operation(request)
        with self._lock:
            number = next(self._counts.setdefault(operation, itertools.count(1)))
            deed = self.choose(operation, number)
            self.called.append(Called(operation, number, request, deed))
        return deed


def _read_request(stream: BinaryIO) -> bytes:
    first = stream.readline()
    if first == AUTHENTICATION:
        return first + stream.readline()
    lines = [first]
    while lines[-1] and lines[-1] != END:
        lines.append(stream.readline())
    return b"".join(lines) if lines[-1] else b""


def _operation(request: bytes) -> str:
    """Return the operation of a call, from the JSON in the request, with quotes escaped or not."""
    if not request.startswith(CALL):
        return "authentication" if request.startswith(AUTHENTICATION) else "other"
    text = request.decode().replace('\\"', '"')
    return text.partition('"operation": "')[2].partition('"')[0] or "other"
