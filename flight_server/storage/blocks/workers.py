"""A few threads that read blocks for all answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

__all__ = ["Workers"]

IDLE_SECONDS = 2.0


class Workers:
    """Threads that begin with some work, end when there is none for a while, and keep no process from ending.

    Work must not raise.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._running = 0
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def submit(self, work: Callable[[], None]) -> None:
        """Have some work done, after what was asked for before."""
        with self._lock:
            self._work.put(work)
            if self._running < self._threads:
                self._running += 1
                # a daemon: one that hangs on a file system must not hold up the end of the process
                threading.Thread(target=self._run, name="blocks", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._work.get(timeout=IDLE_SECONDS)()
            except queue.Empty:
                with self._lock:
                    if self._work.empty():  # nothing can have come since, for that takes the lock
                        self._running -= 1
                        return
