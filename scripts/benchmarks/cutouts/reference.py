"""The reference: `pyarrow.parquet.read_table` with projection and filter, as the public services read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import hdfs_native
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cutouts.filling import Alerts

__all__ = ["WAYS", "Way", "bytes_of", "read_table"]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to read; other parameters are the defaults of pyarrow.

    Parameters
    ----------
    pre_buffer
        Whether column chunks are fetched ahead.
    use_threads
        Whether columns are decoded in parallel.
    buffer_size
        The bytes of a chunk that are read at a time; 0: all of it.
    """

    pre_buffer: bool = True
    use_threads: bool = True
    buffer_size: int = 0

    def __str__(self) -> str:
        """Return a short description."""
        words = ["pre-buffered" if self.pre_buffer else "not pre-buffered", "threads" if self.use_threads else "one thread"]
        return ", ".join([*words, *([f"{self.buffer_size >> 10} KiB at a time"] if self.buffer_size else [])])


WAYS = (Way(), Way(pre_buffer=False), Way(use_threads=False), Way(pre_buffer=False, use_threads=False))
WAYS += (Way(pre_buffer=False, use_threads=False, buffer_size=1 << 20),)


def read_table(client: hdfs_native.Client, alerts: Alerts, kinds: Sequence[str], way: Way) -> pa.Table:
    """Read cutouts block by block, each block once; rows are in the order of the blocks."""
    return _read(client.read, alerts, kinds, way)


def bytes_of(client: hdfs_native.Client, alerts: Alerts, kinds: Sequence[str], way: Way) -> int:
    """Return the number of bytes that such a read takes from HDFS."""
    counters: list[_Counted] = []

    def opened(path: str) -> _Counted:
        counters.append(_Counted(client.read(path)))
        return counters[-1]

    _read(opened, alerts, kinds, way)
    return sum(counter.bytes_read for counter in counters)


def _read(opened: Any, alerts: Alerts, kinds: Sequence[str], way: Way) -> pa.Table:
    encoded = alerts.paths.dictionary_encode()
    columns = ["objectId", "candid", *(f"cutout{kind}" for kind in kinds)]
    found = []
    for code, uri in enumerate(encoded.dictionary.to_pylist()):
        wanted = alerts.alert_ids.filter(pc.equal(encoded.indices, code))
        file = pa.PythonFile(opened(urlsplit(uri).path), mode="r")
        found.append(
            pq.read_table(
                file,
                columns=columns,
                filters=pc.field("candid").isin(wanted),
                use_threads=way.use_threads,
                pre_buffer=way.pre_buffer,
                buffer_size=way.buffer_size,
            )
        )
    return pa.concat_tables(found)


class _Counted(io.RawIOBase):
    """A file that counts the bytes read."""

    def __init__(self, file: hdfs_native.FileReader) -> None:
        super().__init__()
        self._file = file
        self.bytes_read = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._file.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.bytes_read += len(data)
        return data
