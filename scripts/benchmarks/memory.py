"""Memory of a server process, and the page cache under a store."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from measure import Line, fact
from processes import Served

__all__ = ["drop_page_cache", "during", "over_requests", "resident_share", "rss_anon"]

MOST_BYTES = 1 << 30
FLAT_BYTES = 32 << 20  # growth over the requests after the first quarter that still counts as flat
PAGE = mmap.PAGESIZE


def rss_anon(pid: int) -> int:
    """Return the resident anonymous memory of a process, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"the kernel has no RssAnon of process {pid}")


def during(name: str, pid: int, work: Callable[[], object]) -> Line:
    """Sample the memory of a process every 2 ms while work runs."""
    seen = [rss_anon(pid)]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.002):
            seen.append(rss_anon(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        stop.set()
        watcher.join()
    seen.append(rss_anon(pid))
    note = f"start {_mib(seen[0])}, max {_mib(max(seen))}, end {_mib(seen[-1])}"
    return fact(name, note, goal="max < 1 GiB", ok=max(seen) < MOST_BYTES)


def over_requests(name: str, served: Served, tickets: Sequence[bytes]) -> Line:
    """Make requests one by one, and sample the memory of the server at every percent of them."""
    step = max(1, len(tickets) // 100)
    seen = [rss_anon(served.pid)]
    for number, ticket in enumerate(tickets, start=1):
        served.ask(ticket)
        if number % step == 0:
            seen.append(rss_anon(served.pid))
    settled = np.array(seen[max(1, len(seen) // 4) :], dtype=float)
    slope = np.polyfit(np.arange(len(settled)) * step / 1000, settled, 1)[0]
    growth = settled[-1] - settled[0]
    note = (
        f"start {_mib(seen[0])}, max {_mib(max(seen))}, end {_mib(seen[-1])}; "
        f"after the first quarter {growth / 1024:+.0f} KiB, slope {slope / 1024:+.1f} KiB per 1,000 requests"
    )
    return fact(name, note, goal="< 1 GiB, flat", ok=bool(max(seen) < MOST_BYTES and growth < FLAT_BYTES))


def drop_page_cache(folder: Path) -> None:
    """Drop the files of a folder from the page cache; pages mapped by a process stay."""
    for file in _files(folder):
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def resident_share(folder: Path) -> float:
    """Return the share of a folder's bytes that is in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    held = pages = 0
    for file in _files(folder):
        size = file.stat().st_size
        if size == 0:
            continue
        # a private writable mapping, since ctypes needs a writable buffer; mapping touches no page
        with file.open("rb") as handle, mmap.mmap(handle.fileno(), size, access=mmap.ACCESS_COPY) as mapped:
            count = -(-size // PAGE)
            marks = (ctypes.c_ubyte * count)()
            start = ctypes.c_char.from_buffer(mapped)
            failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), marks)
            del start
            if failed:
                raise OSError(ctypes.get_errno(), "mincore failed")
            held += sum(mark & 1 for mark in marks)
            pages += count
    return held / max(pages, 1)


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file()]


def _mib(size: float) -> str:
    return f"{size / (1 << 20):.1f} MiB"
