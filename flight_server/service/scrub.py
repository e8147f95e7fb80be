"""The scrub in the background: reads the embedded store again and again, evenly over a period, and logs what is damaged."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

from flight_server.storage.embedded import EmbeddedStore

__all__ = ["BackgroundScrub"]

log = logging.getLogger(__name__)
WORK_SHARE = 0.1  # of the time that may be spent on reading, however short the period is
LOOK_SECONDS = 1.0  # between looks at the files of a store that nobody asks
IDLE_SECONDS = 60.0  # a pass does not take less, unless the period is shorter


class _Stopped(Exception):
    """The server stops."""


class BackgroundScrub:
    """A thread that scrubs a store until it is stopped. Each pass takes about one period.

    Parameters
    ----------
    store
        The store.
    seconds
        The period.
    """

    def __init__(self, store: EmbeddedStore, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._stop = threading.Event()
        self._resumed = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="scrub", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop it; the next one goes on with the file that this one was reading."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                self._tell(self._store.scrub(self._pause))
                # what has no rows, or only files that cannot be read, is read through at once
                self._wait(min(self._seconds, IDLE_SECONDS) - (time.monotonic() - begun))
            except _Stopped:
                return
            except Exception:
                log.exception("the scrub failed; it begins again in %g s", IDLE_SECONDS)
                self._stop.wait(IDLE_SECONDS)

    def _pause(self, size: int, total: int) -> None:
        """Wait so long that the pass takes the period, and at least so long that reading takes its share of the time."""
        worked = time.monotonic() - self._resumed
        self._wait(max(self._seconds * size / max(total, 1), worked * (1 / WORK_SHARE - 1)))

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._stop.wait(min(left, LOOK_SECONDS)):
                raise _Stopped
            self._store.view()  # finds files that have changed, also while nobody asks
            self._resumed = time.monotonic()
            self._tell(self._store.scrub_changed(self._brief_pause))
        self._resumed = time.monotonic()

    def _brief_pause(self, _size: int) -> None:
        worked = time.monotonic() - self._resumed
        if self._stop.wait(worked * (1 / WORK_SHARE - 1)):
            raise _Stopped
        self._resumed = time.monotonic()

    def _tell(self, found: Iterable[str]) -> None:
        for line in found:
            log.error("damaged: %s", line)
