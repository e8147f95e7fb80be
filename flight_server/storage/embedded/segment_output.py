"""Writing of segments: rows in key order become files of bounded size."""

from __future__ import annotations

import hashlib
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.declarations import Table
from flight_server.storage.embedded.files import follow_mode, make_folder, sync
from flight_server.storage.embedded.manifest import SegmentRecord
from flight_server.storage.embedded.segments import BATCH_ROWS, DIRECTORY, WRITTEN, data_file, key_file
from flight_server.storage.injection import injection_point

__all__ = ["SegmentOutput"]

SEGMENT_BYTES = 1 << 30


class SegmentOutput:
    """A writer of the segments of one table.

    Parameters
    ----------
    folder
        The folder of the store.
    table
        The table.
    schema
        The columns of the segments, including `WRITTEN`.
    key_width
        The length of the longest key, in bytes.
    number
        The ID of the first segment; later ones count up.
    age
        The age of the segments: rows of higher age replace those of lower. None: equal to their IDs.
    """

    def __init__(
        self, folder: Path, table: Table, schema: pa.Schema, *, key_width: int, number: int, age: int | None = None
    ) -> None:
        self._folder = folder / "segments" / table.name
        self._table = table
        self._schema = schema
        self._width = key_width
        self._number = number
        self._age = age
        self._waiting: list[pa.RecordBatch] = []
        self._keys: list[npt.NDArray[np.bytes_]] = []
        self._rows = 0
        self._open: _Files | None = None
        self.records: list[SegmentRecord] = []

    def append(self, rows: pa.Table | pa.RecordBatch, keys: npt.NDArray[np.bytes_], replaced: int = 0) -> None:
        """Append n rows, with keys above all earlier ones; earlier segments hold `replaced` of the keys."""
        if len(rows) == 0:
            return
        self._open = self._open or self._begin()
        self._open.replaced += replaced
        self._waiting += rows.to_batches() if isinstance(rows, pa.Table) else [rows]
        self._keys.append(keys.astype(f"S{self._width}"))
        self._rows += len(rows)
        if self._rows >= BATCH_ROWS:
            self._flush(self._rows - self._rows % BATCH_ROWS)

    def add_replaced(self, count: int) -> None:
        """Add to the number of rows whose keys earlier segments hold."""
        if self._open is not None:
            self._open.replaced += count
        elif self.records:
            self.records[-1] = replace(self.records[-1], replaced=self.records[-1].replaced + count)

    def finish(self) -> list[SegmentRecord]:
        """Write the remaining rows, force all files to disk, and return the records for the manifest."""
        self._flush(self._rows)
        self._finish_file()
        if self.records:
            sync(self._folder)
        return self.records

    def _flush(self, rows: int) -> None:
        """Write the first `rows` of the buffered rows, as batches of `BATCH_ROWS`."""
        if rows == 0:
            return
        waiting, keys = pa.Table.from_batches(self._waiting), np.concatenate(self._keys)
        for first in range(0, rows, BATCH_ROWS):
            some = min(BATCH_ROWS, rows - first)
            self._open = self._open or self._begin()
            self._open.write(waiting.slice(first, some).combine_chunks().to_batches()[0], keys[first : first + some])
            if self._open.size >= SEGMENT_BYTES:
                self._finish_file()
        self._waiting = waiting.slice(rows).to_batches()
        self._keys = [keys[rows:]]
        self._rows -= rows

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close files that an error left open; no manifest lists them."""
        if self._open is not None:
            self._open.close()

    def _begin(self) -> _Files:
        make_folder(self._folder)
        return _Files(self._folder / f"{self._number:08d}", self._schema, self._width)

    def _finish_file(self) -> None:
        if self._open is not None:
            age = self._number if self._age is None else self._age
            self.records.append(self._open.finish(self._number, self._table, age))
            self._number += 1
            self._open = None


class _Files:
    """The two files of a segment that is being written."""

    def __init__(self, stem: Path, schema: pa.Schema, width: int) -> None:
        self._stem = stem
        self._width = width
        self._schema = schema
        self._sink = pa.OSFile(str(data_file(stem)), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema)
        self._key_sink = key_file(stem).open("wb")
        follow_mode(data_file(stem))
        follow_mode(key_file(stem))
        self._key_digest = hashlib.sha256()
        self._directory: list[tuple[int, int, int, int, int]] = []
        self._fences: list[bytes] = []
        self._written = 0
        self.replaced = 0
        self.size = 0

    def write(self, batch: pa.RecordBatch, keys: npt.NDArray[np.bytes_]) -> None:
        batch = batch.select(self._schema.names)
        offset = self._sink.tell()
        self._writer.write_batch(batch)
        self.size = self._sink.tell()
        packed = keys.tobytes()
        self._key_sink.write(packed)
        self._key_digest.update(packed)
        self._directory.append((offset, self.size - offset, len(batch), 0, zlib.crc32(packed)))
        self._fences.append(packed[: self._width])
        self._written = max(self._written, pc.max(batch[WRITTEN]).as_py())

    def close(self) -> None:
        with suppress(OSError):
            self._key_sink.close()
            self._sink.close()

    def finish(self, number: int, table: Table, age: int) -> SegmentRecord:
        self._writer.close()
        self._sink.close()
        injection_point("segment.data")
        self._key_sink.close()
        sync(key_file(self._stem))
        injection_point("segment.keys")
        data = pa.memory_map(str(data_file(self._stem))).read_buffer()
        entries = np.array(self._directory, dtype=DIRECTORY)
        # the writer emits magic (8 bytes) and schema with the first batch: leave them out of the batch
        head = 16 + int.from_bytes(memoryview(data)[12:16], "little")
        entries[0]["length"] -= head - entries[0]["offset"]
        entries[0]["offset"] = head
        span: list[float] = []
        for entry in entries:
            message = data.slice(int(entry["offset"]), int(entry["length"]))
            entry["crc"] = zlib.crc32(message)
            if table.time in self._schema.names:
                column = pa.ipc.read_record_batch(pa.ipc.read_message(message), self._schema)[table.time]
                span += [value for value in pc.min_max(column).as_py().values() if value is not None]
        sync(data_file(self._stem))
        return SegmentRecord(
            id=number,
            table_name=table.name,
            name=self._stem.name,
            age=age,
            rows=int(entries["rows"].sum()),
            replaced=self.replaced,
            key_width=self._width,
            data_bytes=data.size,
            data_sha256=hashlib.sha256(data).hexdigest(),
            keys_sha256=self._key_digest.hexdigest(),
            first_time=min(span, default=None),
            last_time=max(span, default=None),
            written=self._written,
            head_crc=zlib.crc32(data.slice(0, head)),
            batches=entries.tobytes(),
            fences=b"".join(self._fences),
        )
