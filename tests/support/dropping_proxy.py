"""A TCP proxy that can drop all bytes, as a network does that was cut: connections stay, and nothing comes through."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from tcp_proxy import TcpProxy, Way


class DroppingProxy(TcpProxy):
    """A proxy; while `drops` is true, bytes of both directions are lost."""

    def __init__(self, port: int) -> None:
        self.drops = False
        super().__init__(port)

    def _carry(self, way: Way) -> None:
        lost = False
        with contextlib.suppress(OSError):
            while piece := way.source.recv(65_536):
                lost = lost or self.drops
                if lost:  # what was lost is never sent again on this connection
                    continue
                way.sink.sendall(piece)
        with contextlib.suppress(OSError):
            way.sink.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def dropping(port: int) -> Iterator[DroppingProxy]:
    proxy = DroppingProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
