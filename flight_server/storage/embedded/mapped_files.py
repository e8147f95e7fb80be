"""Files that are mapped into memory, and whether they are still what was mapped.

A file that is cut short by another program takes its mapped pages away: the process that touches them is ended by SIGBUS.
So the size is compared, at intervals, before a map is used.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from flight_server.storage.regular_files import FileStamp, open_regular, stamp_of

__all__ = ["LOOK_SECONDS", "LookPace", "MappedFile"]

LOOK_SECONDS = 1.0  # the longest time between two looks at files in use
LOOK_SHARE = 0.02  # of the time that may be spent on looking
MADV_POPULATE_READ = 22  # of madvise(2), since Linux 5.14


class MappedFile:
    """A file, mapped into memory for reading.

    Parameters
    ----------
    path
        The file.
    size
        The size that it must have, bytes.

    Raises
    ------
    OSError
        It cannot be opened, or is no regular file.
    ValueError
        It has another size; the message says which.
    """

    def __init__(self, path: Path, size: int) -> None:
        handle = open_regular(path)
        try:
            state = os.fstat(handle)
            if state.st_size != size:
                raise ValueError(f"it has {state.st_size} bytes instead of {size}")
            self.stamp: FileStamp = stamp_of(state)
            # the very file that was opened; a map needs no descriptor, of which a process has a limited number
            mapped = pa.memory_map(f"/proc/self/fd/{handle}").read_buffer() if size else pa.py_buffer(b"")
        finally:
            os.close(handle)
        self._size = size
        self.buffer: pa.Buffer = mapped

    def is_whole(self, now: FileStamp) -> bool:
        """Return whether the mapped file has the size that it had.

        Parameters
        ----------
        now
            The present stamp of its path, which may name another file or none.
        """
        if now[:2] == self.stamp[:2]:
            return now == self.stamp or now[2] == self._size
        return not self._size or self._has_last_page()

    def _has_last_page(self) -> bool:
        """Return whether the last page can be read, as far as the kernel tells; unlike a read, to ask is harmless."""
        last = self.buffer.address + (self._size - 1) // mmap.PAGESIZE * mmap.PAGESIZE
        libc = ctypes.CDLL(None, use_errno=True)
        asked = libc.madvise(ctypes.c_void_p(last), ctypes.c_size_t(mmap.PAGESIZE), MADV_POPULATE_READ)
        return asked == 0 or ctypes.get_errno() != errno.EFAULT


class Looking(Protocol):
    """What has files that are looked at."""

    def look(self) -> None:
        """Look at them."""


class LookPace:
    """The pace of looks at files: a look is due at once, unless looks take more than `LOOK_SHARE` of the time.

    It is due after `LOOK_SECONDS` in any case. So few answers have files that were just looked at, while many small ones
    do not become slower.
    """

    def __init__(self) -> None:
        self._due = 0.0

    def look(self, files: Iterable[Looking]) -> None:
        """Look at all of these, if that is due."""
        began = time.monotonic()
        if began < self._due:
            return
        for one in files:
            one.look()
        ended = time.monotonic()
        self._due = ended + min(LOOK_SECONDS, (ended - began) / LOOK_SHARE)
