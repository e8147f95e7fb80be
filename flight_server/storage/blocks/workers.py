"""A few threads that read blocks for all answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

__all__ = ["Workers"]


class Workers:
    """Threads that begin with the first work and end with the process, also if one hangs on a file system.

    Work must not raise.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._started = 0
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def submit(self, work: Callable[[], None]) -> None:
        """Have some work done, after what was asked for before."""
        with self._lock:
            self._work.put(work)
            if self._started < self._threads:
                self._started += 1
                threading.Thread(target=self._run, name=f"blocks-{self._started}", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._work.get()()
