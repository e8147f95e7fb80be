"""A TCP proxy of a port on this machine; what it does to bytes is said by those that derive from it."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """One direction of a connection: from where to where, the number of the connection, and whether the server speaks."""

    source: socket.socket
    sink: socket.socket
    number: int
    answers: bool


class TcpProxy(ABC):
    """A proxy; each connection has two threads that carry bytes, one for each direction.

    Parameters
    ----------
    port
        Of the server.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._server.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in (self._server, *self._open):
            shut(one)

    @abstractmethod
    def _carry(self, way: Way) -> None:
        """Carry the bytes of one direction until one side ends."""

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._open += [near, far]
                for way in (Way(near, far, self.connections, False), Way(far, near, self.connections, True)):
                    threading.Thread(target=self._carry, args=(way,), daemon=True).start()
                self.connections += 1


def shut(one: socket.socket) -> None:
    """Close a connection, also for a thread that reads from it."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
