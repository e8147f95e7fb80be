"""Image stamps in the broker's Parquet blocks on HDFS: reading them, and writing new ones a night a folder."""

from __future__ import annotations

import hashlib
import io
import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flight_server.errors import BackendLost, CorruptData, NotSupported
from flight_server.injection import injection_point
from flight_server.storage.parquet_blocks import scatter, write_block
from flight_server.storage.protocols import Stamps

if TYPE_CHECKING:
    import hdfs_native

__all__ = ["HdfsBlocks"]


class HdfsBlocks:
    """A `CutoutStore` over blocks on HDFS.

    Parameters
    ----------
    url
        The name node, such as `hdfs://127.0.0.1:8020`; blocks are read from it whatever host their URI names.
    roots
        The folders that blocks may stand in.
    rewrite
        What the beginnings of URIs are replaced by, for blocks that were moved.
    archive
        The folder that new blocks go below.
    """

    def __init__(self, url: str, roots: Sequence[str], rewrite: Mapping[str, str], archive: str) -> None:
        self._url = url.rstrip("/")
        self._roots = tuple(root.rstrip("/") + "/" for root in roots)
        self._rewrite = dict(rewrite)
        self._archive = archive.rstrip("/")
        self._lock = threading.Lock()
        self._client: hdfs_native.Client | None = None

    def read(self, paths: pa.StringArray, object_ids: pa.Array, alert_ids: pa.Array, kinds: Sequence[str]) -> Stamps:
        """Read the stamps of n alerts, in their order; see `CutoutStore.read`."""
        found: dict[str, list[pa.Array]] = {kind: [] for kind in kinds}
        places = []
        bytes_read = 0
        encoded = paths.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        wanted = alert_ids.cast(pa.int64())
        for code, uri in enumerate(encoded.dictionary.to_pylist()):
            here = np.flatnonzero(codes == code)
            rows, read = self._read_block(uri, wanted.take(pa.array(here)), kinds)
            bytes_read += read
            place = pc.index_in(wanted.take(pa.array(here)), value_set=rows["candid"].combine_chunks())
            same = pc.equal(rows["objectId"].combine_chunks().take(place), object_ids.take(pa.array(here)).cast(pa.string()))
            held = pc.fill_null(same, fill_value=False)
            places.append(here[held.to_numpy(zero_copy_only=False)])
            for kind in kinds:
                stamps = pc.struct_field(rows[f"cutout{kind}"].combine_chunks(), "stampData")
                found[kind].append(stamps.take(place.filter(held)))
        return Stamps({kind: scatter(found[kind], places, len(paths)) for kind in kinds}, bytes_read)

    def write(self, alerts: pa.Table, night: np.datetime64) -> str:
        """Write alerts of one night as a block; gives its URI. The same alerts give the same block."""
        sink = io.BytesIO()
        write_block(sink, alerts, compression="snappy")
        content = sink.getvalue()
        year, month, day = str(night.astype("datetime64[D]")).rsplit("-", 2)  # a year may be negative
        folder = f"{self._archive}/science/year={year}/month={month}/day={day}"
        name = uuid.UUID(hex=hashlib.sha256(content).hexdigest()[:32])
        path = f"{folder}/part-00000-{name}.c000.snappy.parquet"
        try:
            self._put(folder, path, content)
        except OSError as error:
            raise BackendLost(f"HDFS took no block at {self._url}: {_first_line(error)}", field="hdfs.url") from error
        return self._url + path

    def _put(self, folder: str, path: str, content: bytes) -> None:
        """Write a file under another name first, so that none is ever seen in part."""
        client = self._connected()
        client.mkdirs(folder, 0o755, create_parent=True)
        draft = f"{folder}/_draft-{uuid.uuid4()}"
        with client.create(draft, _overwriting()) as writer:
            writer.write(content)
        injection_point("hdfs.drafted")
        client.rename(draft, path, overwrite=True)
        injection_point("hdfs.published")

    def _read_block(self, uri: str, alert_ids: pa.Array, kinds: Sequence[str]) -> tuple[pa.Table, int]:
        name = uri.rpartition("/")[2]
        path = self._path(uri)
        columns = ["objectId", "candid", *(f"cutout{kind}" for kind in kinds)]
        try:
            file = _Counted(self._connected().read(path))
            table = pq.read_table(
                pa.PythonFile(file, mode="r"),
                columns=columns,
                filters=pc.field("candid").isin(alert_ids.drop_null()),
                use_threads=False,  # the file must not be used from two threads
                pre_buffer=False,
                page_checksum_verification=True,
            )
        except FileNotFoundError as error:
            raise CorruptData(f"the block {name} is missing", field="cutouts", value=name) from error
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowKeyError) as error:
            raise CorruptData(f"the block {name} is damaged", field="cutouts", value=name) from error
        except OSError as error:
            if "Parquet" in str(error) or "CRC" in str(error):
                raise CorruptData(f"the block {name} is damaged", field="cutouts", value=name) from error
            raise BackendLost(f"HDFS gives no block {name}: {_first_line(error)}", field="cutouts", value=name) from error
        return table, file.bytes_read

    def _path(self, uri: str) -> str:
        """Give the path of a block that a table's cell names."""
        for old in sorted(self._rewrite, key=len, reverse=True):
            if uri.startswith(old):
                uri = self._rewrite[old] + uri.removeprefix(old)
                break
        path = urlsplit(uri).path
        if ".." in path.split("/") or not path.startswith(self._roots):
            name = uri.rpartition("/")[2]
            raise CorruptData(f"the block {name} is outside of the folders in hdfs.roots", field="cutouts", value=name)
        return path

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = _connect(self._url)
            return self._client


class _Counted(io.RawIOBase):
    """A file that counts what is read of it."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file
        self.bytes_read = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._file.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        return int(self._file.tell())

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self.bytes_read += len(data)
        return data


def _connect(url: str) -> Any:
    try:
        import hdfs_native
    except ImportError:
        message = "stamps on HDFS need the package hdfs-native: pip install 'alertflight[cluster]'"
        raise NotSupported(message, field="cutouts") from None
    return hdfs_native.Client(url)


def _overwriting() -> Any:
    import hdfs_native

    return hdfs_native.WriteOptions(overwrite=True)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:120]
