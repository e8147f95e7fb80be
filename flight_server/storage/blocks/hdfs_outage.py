"""The service of HDFS that does not answer: the NameNode, or all DataNodes with a block."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flight_server.storage.outages import Outage

if TYPE_CHECKING:
    import hdfs_native

__all__ = ["find_outage", "probed_places"]

STEP_SECONDS = 3.0  # the time that a service has for an answer
PROBED_BYTES = 4

log = logging.getLogger(__name__)


def find_outage(
    connect: Callable[[], hdfs_native.Client], url: str, path: str = "", first: int = 0, last: int = 0
) -> Outage | None:
    """Return the service that does not answer, or None.

    Parameters
    ----------
    connect
        Opens a new client: the connections of another one may be those of a network that was cut.
    url
        The name node.
    path, first, last
        A file, and bytes of one of its HDFS blocks; no path to look at the NameNode only.
    """
    clients: list[hdfs_native.Client] = []

    def open_root() -> None:
        client = connect()
        client.get_file_info("/")
        clients.append(client)

    if not _ends(open_root):
        return Outage("NameNode", address(url), f"the NameNode of HDFS at {address(url)} does not answer", rows=False)
    if path and not any(_ends(_reading(clients[0], path, place)) for place in (first, last)):
        return _lost_block(url, path, first, last)
    return None


def _lost_block(url: str, path: str, first: int, last: int) -> Outage:
    """Return the outage of all DataNodes with a block of a file."""
    name = path.rpartition("/")[2]
    message = f"no DataNode of HDFS returns the block {name} (the NameNode at {address(url)} answers)"
    return Outage("DataNode", address(url), message, file=path, first=first, last=last, rows=False)


def probed_places(offset: int, block_bytes: int, size: int) -> tuple[int, int]:
    """Return two places in the HDFS block of a byte, at which its DataNodes are asked for some bytes."""
    first = offset - offset % block_bytes
    return first, max(min(first + block_bytes, size) - PROBED_BYTES, 0)


def address(url: str) -> str:
    """Return the host and port of a URL.

    >>> address("hdfs://127.0.0.1:8020")
    '127.0.0.1:8020'
    """
    return urlsplit(url).netloc or url


def _reading(client: hdfs_native.Client, path: str, place: int) -> Callable[[], None]:
    def read() -> None:
        file = client.read(path)
        file.read_range(place, min(PROBED_BYTES, len(file) - place))

    return read


def _ends(work: Callable[[], None]) -> bool:
    """Return whether work ends in time and without an error; a thread of its own does it, which may wait for ever."""
    done = threading.Event()

    def run() -> None:
        try:
            work()
            done.set()
        except FileNotFoundError:  # that is an answer
            done.set()
        except Exception as error:  # noqa: BLE001  (of whatever kind, it is no answer)
            log.debug("HDFS does not answer: %s", error)
        ended.set()

    ended = threading.Event()
    threading.Thread(target=run, name="hdfs-probe", daemon=True).start()
    ended.wait(STEP_SECONDS)
    return done.is_set()
