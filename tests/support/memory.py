"""The anonymous memory of processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def rss_anon(pid: int) -> int:
    """Return the anonymous memory of a process, bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


@contextmanager
def watching(pid: int) -> Iterator[list[int]]:
    """Sample the memory while the block runs; yield the list of samples."""
    seen = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen.append(rss_anon(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


@contextmanager
def peak_growth(pid: int) -> Iterator[list[int]]:
    """Yield a list that gets the bytes by which a process was larger while the block ran than before it, at its peak."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets the peak
    before, growth = _resident(pid, "VmRSS"), list[int]()
    try:
        yield growth
    finally:
        growth.append(_resident(pid, "VmHWM") - before)


def _resident(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
