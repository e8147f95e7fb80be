"""Functions that return once data are on disk."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["publish", "sync"]


def sync(path: Path) -> None:
    """Force a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(draft: Path, file: Path) -> None:
    """Rename a finished file to its final name, on disk."""
    sync(draft)
    draft.replace(file)
    sync(file.parent)
