"""A bounded pool of daemon threads, which read blocks for all answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

__all__ = ["Workers"]

IDLE_SECONDS = 2.0


class Workers:
    """A pool of daemon threads, which start on demand and end when idle. Work must not raise.

    This is no `ThreadPoolExecutor`: the interpreter waits at its end for the threads of every executor, and a thread that
    reads from a file system which does not answer would keep the process from ending.

    Parameters
    ----------
    threads
        The largest number of threads.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._running = 0
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def submit(self, work: Callable[[], None]) -> None:
        """Queue some work."""
        with self._lock:
            self._work.put(work)
            if self._running < self._threads:
                self._running += 1
                threading.Thread(target=self._run, name="blocks", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._work.get(timeout=IDLE_SECONDS)()
            except queue.Empty:
                with self._lock:
                    if self._work.empty():  # `submit` takes the lock too, so that nothing was queued since
                        self._running -= 1
                        return
