"""The gateway is killed at every point of an answer: each row is still received exactly once."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import threading

import pytest
from hbase_rig import Rig, Truth, files_open, points_to_kill_at
from waiting import is_running, wait_until

KINDS = ("whole", "objects", "limits", "stamps")


class Killer:
    """A hook that kills the gateway while rows pass, at each of the batch counts in `points`."""

    def __init__(self, rig: Rig, *points: int) -> None:
        self._rig = rig
        self._points = list(points)
        self._passings = itertools.count()
        self._lock = threading.Lock()
        self.killed: list[int] = []
        rig.passing.then = self

    def __call__(self, _count: int) -> None:
        with self._lock:
            if next(self._passings) in self._points:
                self.kill()

    def kill(self) -> None:
        pid = self._rig.pid()
        os.kill(pid, signal.SIGKILL)
        self.killed.append(pid)


def count_passings(rig: Rig, fields: object) -> int:
    """Count the points of an answer at which a kill is possible."""
    passed: list[int] = []
    rig.passing.then = passed.append
    rig.ask(fields)  # type: ignore[arg-type]
    rig.passing.then = None
    return len(passed)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_goes_on_where_a_killed_gateway_stopped(kind: str, rig: Rig, truth: Truth, pytestconfig: pytest.Config) -> None:
    kills = pytestconfig.getoption("--kills") // len(KINDS)
    fields = truth.fields(kind)
    points = count_passings(rig, fields)
    assert points > 2
    held: list[int] = []
    for point in points_to_kill_at(points, kills, kind):
        starts = rig.gateway.starts
        killer = Killer(rig, point)
        truth.check(kind, rig.ask(fields))
        rig.passing.then = None
        assert len(killer.killed) == 1
        wait_until(lambda starts=starts: rig.gateway.starts == starts + 1, "another gateway")  # type: ignore[misc]
        assert not is_running(killer.killed[0])
        rig.rest()
        held.append(len(files_open()))

    def are_closed() -> bool:
        gc.collect()
        return len(files_open()) <= held[0] + max(2, kills // 4)

    # other threads may be about to close some
    wait_until(are_closed, f"open files grow with every kill: {held}, {sorted(files_open().values())}")
    truth.check("object", rig.ask(truth.fields("object")))
