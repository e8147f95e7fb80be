"""A TCP proxy that cuts each connection after a number of bytes from the server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from tcp_proxy import TcpProxy, Way, shut

PIECE = 4096


class CutProxy(TcpProxy):
    """A proxy; it closes each connection after its number of bytes from the server.

    Parameters
    ----------
    port
        Of the server.
    shares
        The bytes that each connection may carry, one after the other; None: any number, as those after the last have.
    """

    def __init__(self, port: int, shares: Sequence[int | None] = ()) -> None:
        self._shares = shares
        self.cuts = 0
        super().__init__(port)
        self.url = f"grpc://127.0.0.1:{self.port}"

    def _carry(self, way: Way) -> None:
        share = self._shares[way.number] if way.answers and way.number < len(self._shares) else None
        carried = 0
        with contextlib.suppress(OSError):
            while piece := way.source.recv(PIECE if share is None else min(PIECE, max(share - carried, 1))):
                way.sink.sendall(piece)
                carried += len(piece)
                if share is not None and carried >= share:
                    self.cuts += 1
                    break
        shut(way.source)
        shut(way.sink)


@contextlib.contextmanager
def cutting(port: int, *shares: int | None) -> Iterator[CutProxy]:
    proxy = CutProxy(port, shares)
    try:
        yield proxy
    finally:
        proxy.close()
