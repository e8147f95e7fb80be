"""Blocks on HDFS: reading by byte ranges, and writing new ones."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flight_server.protocol.deadlines import Deadline
from flight_server.protocol.errors import BackendLost, NotSupported
from flight_server.storage.blocks.files import BlockFault, BlockPaths
from flight_server.storage.blocks.hdfs_outage import find_outage, probed_places
from flight_server.storage.injection import injection_point
from flight_server.storage.outages import Outage, Outages

if TYPE_CHECKING:
    import hdfs_native

__all__ = ["HdfsFiles"]

STALL_SECONDS = 10.0  # a read that takes so long may wait for a service that is lost
STREAMED_BYTES = 524_288
# with its defaults the client retries an unreachable name node for three minutes
PROPERTIES = {"dfs.client.failover.max.attempts": "5", "dfs.client.failover.sleep.base.millis": "200"}
IMPATIENT = {"dfs.client.failover.max.attempts": "1"}

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
        self._reads: dict[_Read, None] = {}
        self.outages = Outages(self._probe)

    def open(self, path: str) -> _HdfsFile:
        """Open a block; see `BlockFiles.open`."""
        return _HdfsFile(self, self._paths.path(path))

    def check(self, paths: Iterable[str]) -> None:
        """Raise if a service does not answer that the blocks need; see `BlockFiles.check`."""
        if self.outages.present():
            wanted = {self._paths.path(path) for path in paths}
            self.outages.check(lambda outage: not outage.file or outage.file in wanted)

    def stalled(self) -> BackendLost | None:
        """Look for the service that reads under way wait for; see `BlockFiles.stalled`."""
        now = time.monotonic()
        for read in [read for read in self._reads if now - read.since > STALL_SECONDS]:
            if (error := self.lost(read.path, read.first, read.last)) is not None:
                return error
        return None

    def await_services(self, deadline: Deadline) -> bool:
        """Wait for the services that do not answer; see `BlockFiles.await_services`."""
        if not self.outages.present():
            return False
        self.outages.wait(lambda _: True, deadline)
        return True

    def lost(self, path: str = "", first: int = 0, last: int = 0) -> BackendLost | None:
        """Look for a service that does not answer, note it, and return the error of those who need it, or None."""
        outage = find_outage(self._impatient, self.url, path, first, last)
        if outage is None:
            return None
        return self.note(outage)

    def note(self, outage: Outage) -> BackendLost:
        """Note an outage, and return the error of those who need the service."""
        self._forget_client()
        self.outages.report(outage)
        return outage.error()

    @contextlib.contextmanager
    def reading(self, path: str, first: int, last: int) -> Iterator[hdfs_native.Client]:
        """Yield a client for a read, which `stalled` knows of while it lasts."""
        read = _Read(path, first, last, time.monotonic())
        self._reads[read] = None
        try:
            yield self.connected()
        finally:
            del self._reads[read]

    def write(self, path: str, content: bytes) -> None:
        """Write a file under a temporary name and rename it, so that no partial file is visible.

        Raises
        ------
        BackendLost
            HDFS does not accept the file.
        """
        folder = path.rpartition("/")[0]
        draft = f"{folder}/_draft-{uuid.uuid4()}"
        client = self.connected()
        with self.naming("HDFS did not accept a block"):
            client.mkdirs(folder, 0o755, create_parent=True)
            with client.create(draft, _overwriting()) as writer:
                writer.write(content)
            injection_point("hdfs.drafted")
            client.rename(draft, path, overwrite=True)
            injection_point("hdfs.published")

    def connected(self) -> hdfs_native.Client:
        """Return the client that all reads share."""
        with self._lock:
            if self._client is None:
                self._client = _connect(self.url, self._properties)
            return self._client

    @contextlib.contextmanager
    def naming(self, message: str) -> Iterator[None]:
        """Turn errors of the client into one that names the service that does not answer, if there is one."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            log.warning("%s: %s", message, _first_line(error))
            raise self.lost() or BackendLost(f"{message}: {_first_line(error)}", field="hdfs.url") from error

    def _impatient(self) -> hdfs_native.Client:
        return _connect(self.url, self._properties | IMPATIENT)

    def _probe(self, outage: Outage) -> Outage | None:
        found = find_outage(self._impatient, self.url, outage.file, outage.first, outage.last)
        if found is None:
            self._forget_client()
        return found

    def _forget_client(self) -> None:
        """Open new connections from now on."""
        with self._lock:
            self._client = None


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A read under way: its file, places in the HDFS block that it reads, and when it began."""

    path: str
    first: int
    last: int
    since: float


class _HdfsFile:
    """A file whose block locations are looked up once, and again when they are outdated."""

    def __init__(self, files: HdfsFiles, path: str) -> None:
        self._files = files
        self._path = path
        self._reader: hdfs_native.FileReader | None = None
        with files.naming("HDFS does not answer"):
            try:
                with files.reading("", 0, 0) as client:
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
        first, last = probed_places(offset, self._block_bytes, self.size)
        try:
            with self._files.reading(self._path, first, last) as client:
                reader = self._reader or client.read(self._path)
                self._reader = reader
                data = _read_range(reader, offset, length)
        except FileNotFoundError as error:
            raise BlockFault("block_missing", "the file no longer exists") from error
        except (OSError, RuntimeError) as error:
            log.warning("HDFS cannot read %d bytes at %d of %s: %s", length, offset, self._path, _first_line(error))
            return None
        return data if len(data) == length else None

    def _fault(self, offset: int, length: int) -> Exception:
        """Return a BlockFault on damage, BackendLost on a lost service: DataNodes return other bytes of the HDFS block."""
        lost = self._files.lost(self._path, *probed_places(offset, self._block_bytes, self.size))
        return lost or BlockFault("block_damaged", f"every replica is damaged within {length} bytes at {offset}")


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


def _connect(url: str, properties: Mapping[str, str]) -> hdfs_native.Client:
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
