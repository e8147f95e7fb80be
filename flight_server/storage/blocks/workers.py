"""A bounded pool of daemon threads, which read blocks for all answers in turn."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

__all__ = ["Workers"]

IDLE_SECONDS = 2.0


class Workers:
    """A pool of daemon threads, which start on demand and end when idle. Work must not raise.

    Each owner of work has a queue. Every other piece of work is that of the owner whose turn it is, so that none waits for
    ever; the pieces between are those of the owner that was served least, so that who wants little need not wait for the
    turns of all others.

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
        self._taken = 0
        self._busy: dict[int, float] = {}  # by thread: when its work began
        self._given_up: set[int] = set()  # threads that no longer count
        self._queues: OrderedDict[Hashable, _Queue] = OrderedDict()  # the owner whose turn is next first; none is empty

    def submit(self, owner: Hashable, work: Callable[[], None], served: int = 0) -> None:
        """Queue some work of an owner, behind its earlier work.

        Parameters
        ----------
        owner
            Whose work it is.
        work
            The work.
        served
            How many pieces of its work were done before, if none is queued now.
        """
        with self._changed:
            self._queues.setdefault(owner, _Queue(served)).work.append(work)
            self._changed.notify()
            self._start()

    def give_up(self, seconds: float) -> None:
        """Replace the threads whose work began longer ago: what they wait for may never come."""
        with self._changed:
            now = time.monotonic()
            stuck = {thread for thread, began in self._busy.items() if now - began >= seconds} - self._given_up
            self._given_up |= stuck
            self._running -= len(stuck)
            for _ in range(min(len(stuck), len(self._queues))):
                self._start()

    def drop(self, owner: Hashable) -> int:
        """Forget the work of an owner that has not begun; return how many pieces these were."""
        with self._changed:
            dropped = self._queues.pop(owner, None)
            return 0 if dropped is None else len(dropped.work)

    def _start(self) -> None:
        if self._running < self._threads:
            self._running += 1
            threading.Thread(target=self._run, name="blocks", daemon=True).start()

    def _run(self) -> None:
        me = threading.get_ident()
        while (work := self._next()) is not None:
            with self._changed:
                self._busy[me] = time.monotonic()
            work()
            with self._changed:
                del self._busy[me]
                if me in self._given_up:
                    self._given_up.remove(me)
                    return

    def _next(self) -> Callable[[], None] | None:
        """Take the next piece of work; return None after an idle time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._queues, IDLE_SECONDS):
                self._running -= 1  # `submit` takes the lock too, so that nothing was queued since
                return None
            self._taken += 1
            owner = next(iter(self._queues)) if self._taken % 2 else min(self._queues, key=lambda one: self._queues[one].served)
            queue = self._queues.pop(owner)
            work = queue.work.popleft()
            queue.served += 1
            if queue.work:
                self._queues[owner] = queue  # behind all others
            return work


@dataclass(slots=True)
class _Queue:
    """The work of one owner, and how many pieces of its work were taken."""

    served: int
    work: deque[Callable[[], None]] = field(default_factory=deque)
