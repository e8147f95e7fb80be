"""A pool of threads that read blocks for all answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

__all__ = ["Workers"]

IDLE_SECONDS = 2.0


class Workers:
    """Daemon threads that start on demand and end after a while without work.

    Work must not raise.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._running = 0
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def submit(self, work: Callable[[], None]) -> None:
        """Queue work behind all earlier work."""
        with self._lock:
            self._work.put(work)
            if self._running < self._threads:
                self._running += 1
                # a daemon: a thread that hangs on a file system must not block process exit
                threading.Thread(target=self._run, name="blocks", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._work.get(timeout=IDLE_SECONDS)()
            except queue.Empty:
                with self._lock:
                    if self._work.empty():  # no work can arrive now, since that needs the lock
                        self._running -= 1
                        return
