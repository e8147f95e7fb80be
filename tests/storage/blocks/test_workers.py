"""Threads that read blocks."""

from __future__ import annotations

import subprocess
import sys
import threading

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
Workers(1).submit(hang)
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
        pool.submit(work)
    assert running(others) == 3
    go_on.set()
    for _ in range(20):
        assert done.acquire(timeout=60)
    wait_until(lambda: running(others) == 0, "the threads end")
    pool.submit(work)
    assert done.acquire(timeout=60), "work after that is done too"


def test_work_that_comes_as_threads_end_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "IDLE_SECONDS", 0.0005)
    done = threading.Semaphore(0)
    pool = Workers(2)
    for _ in range(2000):
        pool.submit(done.release)
        assert done.acquire(timeout=60)


def test_work_that_hangs_does_not_keep_the_process_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "end\n"
