"""A TCP proxy that cuts each connection after a number of bytes from the server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable, Iterator

PIECE = 4096


class CutProxy:
    """A proxy of a port; it closes each connection after its number of bytes from the server.

    Parameters
    ----------
    port
        Of the server.
    shares
        The bytes that each connection may carry, one after the other; None: any number, as those after the last have.
    """

    def __init__(self, port: int, shares: Iterable[int | None] = ()) -> None:
        self._port = port
        self._shares = iter(shares)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.connections = 0
        self.cuts = 0
        self.url = f"grpc://127.0.0.1:{self._server.getsockname()[1]}"
        self._start(self._accept)

    def close(self) -> None:
        for one in (self._server, *self._open):
            _shut(one)

    def _start(self, work: object, *given: object) -> None:
        threading.Thread(target=work, args=given, daemon=True).start()  # type: ignore[arg-type]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._open += [near, far]
                self.connections += 1
                self._start(self._carry, near, far, None)
                self._start(self._carry, far, near, next(self._shares, None))

    def _carry(self, source: socket.socket, sink: socket.socket, share: int | None) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE if share is None else min(PIECE, max(share - carried, 1))):
                sink.sendall(piece)
                carried += len(piece)
                if share is not None and carried >= share:
                    self.cuts += 1
                    break
        _shut(source)
        _shut(sink)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextlib.contextmanager
def cutting(port: int, *shares: int | None) -> Iterator[CutProxy]:
    proxy = CutProxy(port, shares)
    try:
        yield proxy
    finally:
        proxy.close()
