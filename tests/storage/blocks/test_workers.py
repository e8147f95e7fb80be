"""Threads that read blocks."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from functools import partial

import pytest
from waiting import wait_until

from flight_server.storage.blocks import workers
from flight_server.storage.blocks.workers import Workers

HANGING = """
import threading
from flight_server.storage.blocks.workers import Workers
begun = threading.Event()
def hang():
    begun.set()
    threading.Event().wait()
Workers(1).submit(None, hang)
assert begun.wait(60)
print("end")
"""


def running(others: set[threading.Thread]) -> int:
    return sum(thread.name == "blocks" for thread in set(threading.enumerate()) - others)


def test_no_more_threads_than_allowed_and_none_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "IDLE_SECONDS", 0.02)
    others = set(threading.enumerate())  # by themselves: a number of a thread that has ended is given again
    go_on, done = threading.Event(), threading.Semaphore(0)
    pool = Workers(3)

    def work() -> None:
        assert go_on.wait(60)
        done.release()

    for _ in range(20):
        pool.submit(None, work)
    assert running(others) == 3
    go_on.set()
    for _ in range(20):
        assert done.acquire(timeout=60)
    wait_until(lambda: running(others) == 0, "the threads end")
    pool.submit(None, work)
    assert done.acquire(timeout=60), "work after that is done too"


def test_work_that_comes_as_threads_end_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "IDLE_SECONDS", 0.0005)
    done = threading.Semaphore(0)
    pool = Workers(2)
    for _ in range(2000):
        pool.submit(None, done.release)
        assert done.acquire(timeout=60)


def queued(pool: Workers, pieces: str) -> tuple[threading.Event, list[str], threading.Semaphore]:
    """Queue a piece of work for each letter, whose owner it is; none begins before the event."""
    go_on, begun, done = threading.Event(), threading.Event(), threading.Semaphore(0)
    order: list[str] = []

    def wait() -> None:
        begun.set()
        assert go_on.wait(60)

    def work(owner: str) -> None:
        order.append(owner)
        done.release()

    pool.submit("gate", wait)
    assert begun.wait(60)
    for owner in pieces:
        pool.submit(owner, partial(work, owner))
    return go_on, order, done


def test_owners_take_turns() -> None:
    go_on, order, done = queued(Workers(1), "aaaaabbbc")
    go_on.set()
    for _ in range(9):
        assert done.acquire(timeout=60)
    assert "".join(order) == "abcababaa"


def test_who_wants_little_does_not_wait_for_the_turns_of_all_others() -> None:
    pool = Workers(1)
    go_on, order, done = queued(pool, "abcdefgh" * 4)
    turns = []

    def come_late() -> None:
        turns.append(len(order))
        pool.submit("late", lambda: turns.append(len(order)))

    pool.submit("a", come_late)
    go_on.set()
    for _ in range(32):
        assert done.acquire(timeout=60)
    wait_until(lambda: len(turns) == 2, "the late piece is done")
    assert turns[1] - turns[0] <= 1


def test_who_wants_much_is_served_while_others_come_and_come() -> None:
    pool = Workers(1)
    go_on, order, done = queued(pool, "a" * 20)
    places = []

    def another(number: int) -> None:
        places.append(len(order))
        if number < 19:
            pool.submit(number, partial(another, number + 1))

    pool.submit("first", partial(another, 0))
    go_on.set()
    for _ in range(20):
        assert done.acquire(timeout=60)
    wait_until(lambda: len(places) == 20, "all others are done")
    assert max(later - earlier for earlier, later in itertools.pairwise([0, *places])) <= 1, "each was served at once"
    assert places[-1] >= 18, "and between two of them was a piece of the large one"


def test_dropped_work_is_not_done() -> None:
    pool = Workers(1)
    go_on, order, done = queued(pool, "aaabab")
    assert pool.drop("a") == 4
    assert pool.drop("a") == pool.drop("nobody") == 0
    pool.submit("a", done.release)
    go_on.set()
    for _ in range(3):
        assert done.acquire(timeout=60)
    assert order == ["b", "b"]


def test_work_that_hangs_does_not_keep_the_process_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "end\n"
