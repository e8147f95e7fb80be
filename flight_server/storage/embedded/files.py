"""Files that are on disk once a function returns."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["publish", "sync"]


def sync(path: Path) -> None:
    """Force a file, or a folder's list of names, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(draft: Path, file: Path) -> None:
    """Give a finished file its name, on disk."""
    sync(draft)
    draft.replace(file)
    sync(file.parent)
