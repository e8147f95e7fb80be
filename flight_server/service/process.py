"""One serving process: opens the store, starts the server, waits for a signal, stops in order."""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Protocol

from flight_server.catalog.catalog import load_catalog
from flight_server.execution.archive import Archive
from flight_server.protocol.errors import BadValue, NotSupported
from flight_server.service.compaction import BackgroundCompaction
from flight_server.service.scrub import BackgroundScrub
from flight_server.service.stores import Store, open_store
from flight_server.settings import Settings
from flight_server.storage.embedded import EmbeddedStore
from flight_server.storage.outages import NO_WAIT, Waiting
from flight_server.storage.scratch import remove_abandoned

__all__ = ["embedded_folder", "open_archive", "serve"]

GRACE_SECONDS = 10.0
LOOK_SECONDS = 0.05
EXIT_CUT = 1

log = logging.getLogger(__name__)


def open_archive(settings: Settings, wait: Waiting = NO_WAIT) -> tuple[Archive, Store]:
    """Open the archive that the settings name; `wait` says how long to wait for services behind its store."""
    catalog = load_catalog().with_array_shape(settings.cutouts.array_shape)
    store = open_store(settings, catalog, wait)
    return Archive(catalog, store, store.cutouts, settings), store


def embedded_folder(settings: Settings) -> Path:
    """Return the folder of the embedded store, for work that only such a store needs.

    Raises
    ------
    NotSupported
        The store is another one.
    """
    if settings.store != "embedded":
        raise NotSupported(f"this is for the embedded store; {settings.place} looks after its own files", field="store")
    return settings.folder


class Door(Protocol):
    """What serves an archive on a port."""

    @property
    def port(self) -> int:
        """The port that it listens on."""

    def drain(self) -> None:
        """Take no new calls from now on."""

    def shutdown(self) -> None:
        """Stop once the calls under way have ended."""


def serve(
    settings: Settings,
    open_door: Callable[[Archive, Settings], Door],
    ready: Callable[[Door, Archive], None],
    wait: float = 0.0,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Parameters
    ----------
    settings
        Which store, and where.
    open_door
        Start what serves it.
    ready
        Called once the port answers.
    wait
        How long to wait for services behind the store, seconds.

    Notes
    -----
    Streams under way get `GRACE_SECONDS` to finish; a second signal ends that time. pyarrow's own shutdown waits for ever
    for a client that has stopped reading, so after that the process ends whatever it says, with the exit code 1.
    """
    # a pipe, since a handler that sets an event can meet the very lock that waiting for it holds; written to by the
    # interpreter itself, since a handler in Python would wait for a read that has begun just behind the signal
    stopped, stop = os.pipe()
    os.set_blocking(stop, False)
    signal.set_wakeup_fd(stop)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        """Do nothing: the number of the signal stands in the pipe."""

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    _check_port(settings)
    remove_abandoned()
    archive, store = open_archive(settings, Waiting(wait, lambda: bool(select.select([stopped], [], [], 0)[0])))
    try:
        server = open_door(archive, settings)
    except BaseException:
        store.close()
        raise
    compaction = (
        BackgroundCompaction(settings.folder, settings.compaction.seconds)
        if settings.compaction.background and settings.store == "embedded"
        else None
    )
    scrub = (
        BackgroundScrub(store, settings.scrub.seconds) if isinstance(store, EmbeddedStore) and settings.scrub.seconds else None
    )
    ready(server, archive)
    os.read(stopped, 1)
    server.drain()
    if compaction is not None:
        compaction.stop()
    if scrub is not None:
        scrub.stop()
    closing = threading.Thread(target=server.shutdown, daemon=True)
    closing.start()
    end = time.monotonic() + GRACE_SECONDS
    while closing.is_alive() and time.monotonic() < end and not select.select([stopped], [], [], LOOK_SECONDS)[0]:
        pass
    cut = closing.is_alive()
    store.close()
    if cut:
        log.error("calls under way were cut off: their clients have not read their answers to the end")
        logging.shutdown()
        os._exit(EXIT_CUT)


def _check_port(settings: Settings) -> None:
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # as gRPC does, so that a port whose last server has just ended is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "is taken: stop what uses it, or choose another with --port" if taken else f"cannot be used: {error.strerror}"
            raise BadValue(f"the address {host}:{port} {why}", field="port", value=port) from error
