"""Making of files and folders of a store: on disk when a function returns, and with the permissions of the store."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["follow_mode", "make_folder", "publish", "sync"]


def sync(path: Path) -> None:
    """Force a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def follow_mode(path: Path) -> None:
    """Set the permissions of a file or folder to those of the folder that holds it; a file cannot be executed.

    A store that is made is open to its owner only. Who opens its folder to others, opens what is written later too.
    """
    mode = stat.S_IMODE(path.parent.stat().st_mode)
    path.chmod(mode if path.is_dir() else mode & 0o666)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, with the permissions of the one that exists."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        follow_mode(path)


def publish(draft: Path, file: Path) -> None:
    """Rename a finished file to its final name, on disk, with the permissions of its folder."""
    follow_mode(draft)
    sync(draft)
    draft.replace(file)
    sync(file.parent)
