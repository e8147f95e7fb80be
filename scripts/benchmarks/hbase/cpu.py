"""CPU time of the processes that serve a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hbase.works import Request

__all__ = ["Metered"]

CLOCK_OF_ALL_THREADS = 2  # CPUCLOCK_SCHED, as clock_getcpuclockid of the C library puts it together


@dataclass(slots=True)
class Metered:
    """A side whose processor time is counted.

    Parameters
    ----------
    processes
        By kind; several may be of one kind.
    side
        Makes one request; returns its ms.
    """

    processes: Mapping[str, Sequence[int]]
    side: Callable[[Request], float]
    _spent: list[dict[str, float]] = field(default_factory=list)

    def __call__(self, request: Request) -> float:
        """Make one request; return its ms."""
        before = self._now()
        ms = self.side(request)
        self._spent.append({kind: after - before[kind] for kind, after in self._now().items()})
        return ms

    def mean(self, rounds: int) -> dict[str, float]:
        """Return the ms that a request took of each kind, on average over the last rounds."""
        last = self._spent[-rounds:]
        return {kind: sum(one[kind] for one in last) / len(last) for kind in self.processes}

    def _now(self) -> dict[str, float]:
        return {kind: sum(map(_spent, pids)) for kind, pids in self.processes.items()}


def _spent(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | CLOCK_OF_ALL_THREADS) * 1000
