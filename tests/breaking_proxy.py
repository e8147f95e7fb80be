"""A proxy in front of a server that breaks connections: after some bytes of an answer, a few times, then no more."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

BLOCK = 16384


class BreakingProxy:
    """Hands bytes on in both directions; once `after` bytes came from the server, the connection is cut, `times` times.

    Parameters
    ----------
    port
        The server's.
    after
        How many bytes of a connection pass.
    times
        How many connections are cut.
    """

    def __init__(self, port: int, after: int, times: int = 1) -> None:
        self.cut = 0
        self._port, self._after, self._times = port, after, times
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Cut everything and end."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._threads[0].join()
        for connection in self._open:
            _hang_up(connection)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._open += [client, server]
            for pair, counted in (((client, server), False), ((server, client), True)):
                self._threads.append(threading.Thread(target=self._carry, args=(*pair, counted)))
                self._threads[-1].start()

    def _carry(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        total = 0
        with contextlib.suppress(OSError):  # the other thread has cut both
            while data := source.recv(BLOCK):
                total += len(data)
                if counted and total > self._after and self._may_cut():
                    break
                sink.sendall(data)
        _hang_up(source)
        _hang_up(sink)

    def _may_cut(self) -> bool:
        with self._lock:
            if self.cut == self._times:
                return False
            self.cut += 1
            return True


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextlib.contextmanager
def breaking(port: int, after: int, times: int = 1) -> Iterator[BreakingProxy]:
    proxy = BreakingProxy(port, after, times)
    try:
        yield proxy
    finally:
        proxy.close()
