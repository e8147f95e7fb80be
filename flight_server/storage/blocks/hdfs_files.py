"""Blocks on HDFS: reading by byte ranges, and writing new ones."""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flight_server.protocol.errors import BackendLost, NotSupported
from flight_server.storage.blocks.files import BlockFault, BlockPaths
from flight_server.storage.injection import injection_point

if TYPE_CHECKING:
    import hdfs_native

__all__ = ["HdfsFiles"]

PROBED_BYTES = 4
STREAMED_BYTES = 524_288
# with its defaults the client retries an unreachable name node for three minutes
PROPERTIES = {"dfs.client.failover.max.attempts": "5", "dfs.client.failover.sleep.base.millis": "200"}

log = logging.getLogger(__name__)


class HdfsFiles:
    """Files of one name service. Threads may share it.

    Parameters
    ----------
    url
        The name node, such as `hdfs://127.0.0.1:8020`; blocks are read from it whatever host their URI names.
    roots
        The folders that may contain blocks.
    rewrite
        Replacements of prefixes of URIs, for blocks that were moved.
    properties
        Other settings of the HDFS client.
    """

    def __init__(
        self,
        url: str,
        roots: Sequence[str] = ("/",),
        rewrite: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._paths = BlockPaths(roots, rewrite or {}, "hdfs.roots")
        self._properties = PROPERTIES | dict(properties or {})
        self._lock = threading.Lock()
        self._client: hdfs_native.Client | None = None

    def open(self, path: str) -> _HdfsFile:
        """Open a block; see `BlockFiles.open`."""
        return _HdfsFile(self._connected(), self._paths.path(path))

    def write(self, path: str, content: bytes) -> None:
        """Write a file under a temporary name and rename it, so that no partial file is visible.

        Raises
        ------
        BackendLost
            HDFS does not accept the file.
        """
        folder = path.rpartition("/")[0]
        draft = f"{folder}/_draft-{uuid.uuid4()}"
        client = self._connected()
        with _naming(f"HDFS did not accept a block at {self.url}"):
            client.mkdirs(folder, 0o755, create_parent=True)
            with client.create(draft, _overwriting()) as writer:
                writer.write(content)
            injection_point("hdfs.drafted")
            client.rename(draft, path, overwrite=True)
            injection_point("hdfs.published")

    def _connected(self) -> hdfs_native.Client:
        with self._lock:
            if self._client is None:
                self._client = _connect(self.url, self._properties)
            return self._client


class _HdfsFile:
    """A file whose block locations are looked up once, and again when they are outdated."""

    def __init__(self, client: hdfs_native.Client, path: str) -> None:
        self._client = client
        self._path = path
        self._reader: hdfs_native.FileReader | None = None
        with _naming("HDFS does not answer"):
            try:
                state = client.get_file_info(path)
            except FileNotFoundError as error:
                raise BlockFault("block_missing", "there is no such file") from error
        if state.isdir:
            raise BlockFault("block_missing", "it is a folder")
        self.size = state.length
        self.version = (state.modification_time, state.length)
        self._block_bytes = state.blocksize or state.length

    def read(self, offset: int, length: int) -> bytes | bytearray:
        """Read exactly `length` bytes; see `BlockFile.read`."""
        if offset < 0 or length < 0 or offset + length > self.size:  # hdfs-native panics
            raise BlockFault("block_damaged", f"it ends before byte {offset + length}")
        data = self._try(offset, length)
        if data is None:  # replicas may have moved since
            self._reader = None
            data = self._try(offset, length)
        if data is None:
            raise self._fault(offset, length)
        return data

    def _try(self, offset: int, length: int) -> bytes | bytearray | None:
        """Read bytes; return None if no DataNode returns them."""
        try:
            reader = self._reader or self._client.read(self._path)
            self._reader = reader
            data = _read_range(reader, offset, length)
        except FileNotFoundError as error:
            raise BlockFault("block_missing", "the file no longer exists") from error
        except (OSError, RuntimeError) as error:
            log.warning("HDFS cannot read %d bytes at %d of %s: %s", length, offset, self._path, _first_line(error))
            return None
        return data if len(data) == length else None

    def _fault(self, offset: int, length: int) -> Exception:
        """Return a BlockFault on damage, BackendLost on lost DataNodes: available ones return other bytes of the HDFS block."""
        first = offset - offset % self._block_bytes
        last = min(first + self._block_bytes, self.size) - PROBED_BYTES
        if any(self._try(max(place, 0), min(PROBED_BYTES, self.size)) for place in (first, last)):
            return BlockFault("block_damaged", f"every replica is damaged within {length} bytes at {offset}")
        name = self._path.rpartition("/")[2]
        return BackendLost(f"no DataNode of HDFS returns the block {name}", field="cutouts", value=name)


def _read_range(reader: hdfs_native.FileReader, offset: int, length: int) -> bytes | bytearray:
    if length < STREAMED_BYTES:
        found: bytes = reader.read_range(offset, length)
        return found
    # one long range takes up to three times as long: the client keeps growing its buffer
    data = bytearray(length)
    place = 0
    for piece in reader.read_range_stream(offset, length):
        data[place : place + len(piece)] = piece
        place += len(piece)
    return data if place == length and len(data) == length else b""


@contextlib.contextmanager
def _naming(message: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        log.warning("%s: %s", message, _first_line(error))  # the text names hosts, which clients must not see
        raise BackendLost(message, field="hdfs.url") from error


def _connect(url: str, properties: Mapping[str, str]) -> Any:
    try:
        import hdfs_native
    except ImportError:
        message = "cutouts on HDFS need the package hdfs-native: pip install 'alertflight[cluster]'"
        raise NotSupported(message, field="cutouts") from None
    return hdfs_native.Client(url, dict(properties))


def _overwriting() -> Any:
    import hdfs_native

    return hdfs_native.WriteOptions(overwrite=True)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:120]
