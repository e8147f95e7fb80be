"""Folders for temporary files. Those of a process that was killed are removed by the next server."""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import shutil
import tempfile
import weakref
from pathlib import Path

__all__ = ["ScratchFolder", "remove_abandoned"]

log = logging.getLogger(__name__)
PREFIX = "alertflight-"
PURPOSES = ("upload", "ingest", "unpacked", "gateway")


class ScratchFolder:
    """A new folder in that for temporary files, locked while its process lives; removed by `cleanup`.

    Parameters
    ----------
    purpose
        A word for its name, one of `PURPOSES`.

    Attributes
    ----------
    path
        The folder.
    """

    def __init__(self, purpose: str) -> None:
        # under its final name it is never without a lock
        if purpose not in PURPOSES:
            raise ValueError(f"nothing removes folders for {purpose}")
        draft = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
        lock = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.path = draft.with_name(f"{PREFIX}{purpose}-{draft.name.removeprefix(f'.{PREFIX}')}")
        draft.rename(self.path)
        self._end = weakref.finalize(self, _remove, self.path, lock)

    def cleanup(self) -> None:
        """Remove the folder with all files in it; a second call does nothing."""
        self._end()


def remove_abandoned() -> list[Path]:
    """Remove the folders of this user whose processes were killed; return which these were."""
    removed = []
    temporary = Path(tempfile.gettempdir())
    for folder in itertools.chain.from_iterable(temporary.glob(f"{PREFIX}{purpose}-*") for purpose in PURPOSES):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # gone meanwhile, or that of another user
            continue
        try:
            if os.fstat(lock).st_uid != os.geteuid():
                continue
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its process lives
            continue
        else:
            log.info("removing %s, which a killed process has left", folder)
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
        finally:
            os.close(lock)
    return removed


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
