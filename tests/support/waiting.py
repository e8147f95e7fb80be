"""Waiting for conditions, with time limits so generous that only a real failure reaches them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

PAUSE = 0.02
MOST_SECONDS = 180.0


def wait_until(condition: Callable[[], object], what: str, most: float = MOST_SECONDS) -> float:
    """Wait until a condition holds; return the seconds that it took."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < most, f"not within {most:g} s: {what}"
        time.sleep(PAUSE)
    return time.monotonic() - begin


def is_running(pid: int) -> bool:
    """Return whether a process is alive; a zombie is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
