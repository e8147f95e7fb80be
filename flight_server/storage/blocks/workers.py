"""A bounded pool of daemon threads, which read blocks for all answers in turn."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

__all__ = ["Workers"]

IDLE_SECONDS = 2.0


class Workers:
    """A pool of daemon threads, which start on demand and end when idle. Work must not raise.

    Each owner of work has a queue, and the queues take turns: who wants one block waits for at most one piece of work of each
    other owner, however many these want.

    This is no `ThreadPoolExecutor`: the interpreter waits at its end for the threads of every executor, and a thread that
    reads from a file system which does not answer would keep the process from ending.

    Parameters
    ----------
    threads
        The largest number of threads.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._changed = threading.Condition()
        self._running = 0
        self._queues: OrderedDict[Hashable, deque[Callable[[], None]]] = OrderedDict()  # the next owner first; none is empty

    def submit(self, owner: Hashable, work: Callable[[], None]) -> None:
        """Queue some work of an owner, behind its earlier work."""
        with self._changed:
            self._queues.setdefault(owner, deque()).append(work)
            self._changed.notify()
            if self._running < self._threads:
                self._running += 1
                threading.Thread(target=self._run, name="blocks", daemon=True).start()

    def drop(self, owner: Hashable) -> int:
        """Forget the work of an owner that has not begun; return how many pieces these were."""
        with self._changed:
            return len(self._queues.pop(owner, ()))

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Callable[[], None] | None:
        """Take the first work of the owner whose turn it is; return None after an idle time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._queues, IDLE_SECONDS):
                self._running -= 1  # `submit` takes the lock too, so that nothing was queued since
                return None
            owner, queue = self._queues.popitem(last=False)
            work = queue.popleft()
            if queue:
                self._queues[owner] = queue  # behind all others
            return work
