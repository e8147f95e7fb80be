"""Files of blocks, read by byte ranges, on local disks or on HDFS."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from flight_server.protocol.deadlines import Deadline
from flight_server.protocol.errors import BackendLost, CorruptData
from flight_server.storage.regular_files import check_regular, open_regular, stamp_of

__all__ = ["BlockFault", "BlockFile", "BlockFiles", "BlockPaths", "Content", "LocalFiles"]

Content: TypeAlias = bytes | bytearray | memoryview


class BlockFault(Exception):
    """A block is missing or damaged; `reason` is the word under which answers count it."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class BlockFile(Protocol):
    """An open block. Threads may share it."""

    @property
    def size(self) -> int:
        """The length in bytes."""

    @property
    def version(self) -> tuple[int, ...]:
        """Numbers that identify the content, such as the modification time and length."""

    def read(self, offset: int, length: int) -> bytes | bytearray:
        """Read exactly `length` bytes.

        Raises
        ------
        BlockFault
            The bytes are damaged, or the file ends before them.
        BackendLost
            The file system does not answer.
        """


class BlockFiles(Protocol):
    """A file system with blocks."""

    def open(self, path: str) -> BlockFile:
        """Open the block that a cell of a table names.

        Raises
        ------
        BlockFault
            The file does not exist (`block_missing`).
        CorruptData
            The path is outside of the allowed folders.
        BackendLost
            The file system does not answer.
        """

    def check(self, paths: Iterable[str]) -> None:
        """Raise BackendLost if a service is known not to answer that these blocks need."""

    def stalled(self) -> BackendLost | None:
        """Look for the service that reads under way have long waited for; return the error if there is one."""

    def await_services(self, deadline: Deadline) -> bool:
        """Wait until all services answer; return whether there was one that did not. Raise at the deadline."""


class BlockPaths:
    """Conversion of the cells of a table to paths of blocks, with a check that these are in allowed folders.

    Parameters
    ----------
    roots
        The folders that may contain blocks.
    rewrite
        Replacements of prefixes of cells, for blocks that were moved; the longest matching prefix wins.
    setting
        The name of the setting with the roots, for the error.

    Examples
    --------
    >>> paths = BlockPaths(["/archive"], {"hdfs://old:8020/user": "hdfs://new/archive"}, "hdfs.roots")
    >>> paths.path("hdfs://old:8020/user/a.parquet")
    '/archive/a.parquet'
    """

    def __init__(self, roots: Sequence[str], rewrite: Mapping[str, str], setting: str) -> None:
        self._roots = tuple(root.rstrip("/") + "/" for root in roots)
        self._rewrite = sorted(rewrite.items(), key=lambda item: len(item[0]), reverse=True)
        self._setting = setting

    def path(self, cell: str) -> str:
        """Return the path of the block that a cell of a table names.

        Raises
        ------
        CorruptData
            The path is outside of the roots.
        """
        named = cell
        for old, new in self._rewrite:
            if named.startswith(old):
                named = new + named.removeprefix(old)
                break
        path = urlsplit(named).path if "://" in named else named
        odd = "\0" in path or "\\" in path or ".." in unquote(path).split("/")
        if odd or not path.startswith(self._roots):
            name = cell.rpartition("/")[2][:120]
            message = f"the block {name} is outside of the folders in {self._setting}"
            raise CorruptData(message, field="cutouts", value=name)
        return path


class LocalFiles:
    """Blocks on local disks.

    Parameters
    ----------
    root
        The folder of all blocks; paths are relative to it, or begin with it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._paths = BlockPaths([str(self._root)], {}, "data")

    def open(self, path: str) -> _LocalFile:
        """Open a block; see `BlockFiles.open`."""
        named = path if path.startswith("/") or "://" in path else f"{self._root}/{path}"
        real = Path(self._paths.path(named)).resolve()
        self._paths.path(str(real))  # no symbolic link may lead out of the folder
        with _naming_disk():
            return _LocalFile(real, check_regular(real))

    def check(self, paths: Iterable[str]) -> None:
        """Do nothing: disks are part of this machine."""

    def stalled(self) -> None:
        """Return None: disks are part of this machine."""

    def await_services(self, deadline: Deadline) -> bool:  # noqa: ARG002  (that of the interface)
        """Return False: disks are part of this machine."""
        return False


class _LocalFile:
    """A file that is opened for each read, so that no file stays open."""

    def __init__(self, path: Path, state: os.stat_result) -> None:
        self._path = path
        self.size = state.st_size
        self.version = stamp_of(state)

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes; see `BlockFile.read`."""
        with _naming_disk():
            handle = open_regular(self._path)
            try:
                data = os.pread(handle, length, offset)
            finally:
                os.close(handle)
        if len(data) != length:
            raise BlockFault("block_damaged", f"it ends before byte {offset + length}")
        return data


@contextmanager
def _naming_disk() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BlockFault("block_missing", "there is no such file") from error
    except OSError as error:
        raise BlockFault("block_damaged", f"it cannot be read from disk: {error.strerror}") from error
