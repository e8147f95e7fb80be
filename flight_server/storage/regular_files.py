"""Opening of files that must be regular: what else has their name is refused, since a FIFO would be waited for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TypeAlias

__all__ = ["FileStamp", "check_regular", "file_stamp", "open_regular", "stamp_of"]

FileStamp: TypeAlias = tuple[int, ...]
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path, *, create: bool = False) -> int:
    """Open a file and return its descriptor.

    Parameters
    ----------
    path
        The file.
    create
        Whether to open it for writing, and to make it if there is none. Else it is opened for reading.

    Raises
    ------
    OSError
        It cannot be opened, or is no regular file; `strerror` says what it is.
    """
    if not create or path.exists():
        check_regular(path)  # opening a device may already do something
    access = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
    handle = os.open(path, access | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    try:
        _check(os.fstat(handle), path)
    except BaseException:
        os.close(handle)
        raise
    return handle


def check_regular(path: Path) -> os.stat_result:
    """Return the state of a file, by the path that names it.

    Raises
    ------
    OSError
        There is none, or it is no regular file.
    """
    state = path.stat()
    _check(state, path)
    return state


def file_stamp(path: Path | str) -> FileStamp:
    """Return numbers that change whenever a path names other content.

    They also change when its permissions or links do. If the path cannot be followed, the number is that of the error.
    """
    try:
        state = os.stat(path)  # noqa: PTH116  (a method of Path takes half as long again, and this is done for every answer)
    except OSError as error:
        return (error.errno or errno.EIO,)
    return stamp_of(state)


def stamp_of(state: os.stat_result) -> FileStamp:
    """Return the numbers of `file_stamp` for the state of a file."""
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _check(state: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(state.st_mode):
        kind = KINDS.get(stat.S_IFMT(state.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
