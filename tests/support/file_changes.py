"""Changes to a file behind the back of a store that has it open: cut short, overwritten, replaced, or no file any more."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

Change = Callable[[Path], None]


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def extend(file: Path) -> None:
    with file.open("ab") as handle:
        handle.write(b"more")


def overwrite(file: Path) -> None:
    with file.open("r+b") as handle:
        handle.write(os.urandom(file.stat().st_size))


def replace_by_other(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(os.urandom(file.stat().st_size))
    other.replace(file)


def become_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def become_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def become_socket(file: Path) -> None:
    file.unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{file.name}")  # the length of a socket's path is limited
    os.close(folder)


def become_device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def mend(file: Path, content: bytes) -> None:
    if file.is_dir():
        file.rmdir()
    elif file.is_symlink() or file.exists():
        file.unlink()
    file.write_bytes(content)


GONE: list[Change] = [Path.unlink, become_folder, become_fifo, become_socket, become_device]
CHANGES: list[Change] = [cut_short, empty, extend, overwrite, replace_by_other, *GONE]
