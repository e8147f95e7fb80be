"""Segments: sorted rows of one table in an Arrow IPC file, and their row keys in a second file.

The data file has record batches of `BATCH_ROWS` rows, the last one fewer, so that the batch of a row follows from its
index. The key file has all row keys at a fixed width, so that a lookup is a binary search on a memory map. Checksums of
batches and their keys are verified on first use. A lookup finds the batch by its first key, which is in the manifest
(`fences`), so that it never reads keys that were not verified.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.columns import Projection
from flight_server.catalog.widening import widened
from flight_server.protocol.errors import CorruptData
from flight_server.storage.embedded.manifest import SegmentRecord
from flight_server.storage.embedded.objects import ObjectIndex
from flight_server.storage.keys import KeyExpression

__all__ = ["BATCH_ROWS", "DIRECTORY", "WRITTEN", "OpenBatch", "Segment", "SegmentCache", "SegmentProjection"]

BATCH_ROWS = 1000
FEW_BATCHES = 16
UNKNOWN = -2
FARTHEST = 2**31  # the limit of offsets in int32; segments are smaller
WRITTEN = "_written"  # a column of the store: when the row was written, ms since 1970
DIRECTORY = np.dtype([("offset", "<i8"), ("length", "<i8"), ("rows", "<i8"), ("crc", "<i8"), ("key_crc", "<i8")])


class Segment:
    """An open segment: memory-mapped files, with batches read on first use."""

    def __init__(self, stem: Path, record: SegmentRecord) -> None:
        self.record = record
        self._label = f"segment {record.name} of {record.table_name}"
        self._data = self._map(data_file(stem), record.data_bytes)
        keys = self._map(key_file(stem), record.rows * record.key_width)
        self._keys: npt.NDArray[np.bytes_] = np.frombuffer(keys, dtype=f"S{record.key_width}")
        self.fences: npt.NDArray[np.bytes_] = np.frombuffer(record.fences, dtype=f"S{record.key_width}")
        self._directory = np.frombuffer(record.batches, dtype=DIRECTORY)
        self._objects: ObjectIndex | None = None
        self._offsets: npt.NDArray[np.int32] | None = None
        self._checked = np.zeros(len(self._directory), dtype=bool)
        self._keys_checked = np.zeros(len(self._directory), dtype=bool)
        if zlib.crc32(self._data.slice(0, int(self._directory[0]["offset"]))) != record.head_crc:
            raise CorruptData(f"the schema of {self._label} is damaged: its checksum is wrong", field=record.table_name)
        # the file begins with the magic bytes, padded to 8 bytes, then the schema message
        self.schema: pa.Schema = pa.ipc.read_schema(pa.ipc.read_message(self._data.slice(8)))

    def batch(self, number: int, schema: pa.Schema | None = None) -> pa.RecordBatch:
        """Read record batch `number`, zero-copy from the memory map; `schema` may replace the metadata of its columns.

        Raises
        ------
        CorruptData
            Its checksum is wrong; names table and key range.
        """
        entry = self._directory[number]
        message = self._data.slice(int(entry["offset"]), int(entry["length"]))
        if not self._checked[number]:
            if zlib.crc32(message) != entry["crc"]:
                raise self._damaged(number)
            self._checked[number] = True
        return pa.ipc.read_record_batch(pa.ipc.read_message(message), self.schema if schema is None else schema)

    def keys(self, low: int, high: int) -> npt.NDArray[np.bytes_]:
        """Return the verified keys of rows [low, high)."""
        first, last = low // BATCH_ROWS, (high - 1) // BATCH_ROWS
        if low < high and not (first == last and self._keys_checked[first]):
            self._check_keys(np.arange(first, last + 1))
        return self._keys[low:high]

    @property
    def address(self) -> int:
        """The address of the mapped data file; values of 4 and 8 bytes in it are aligned to their width."""
        return int(self._data.address)

    @property
    def size(self) -> int:
        """The size of the data file, bytes."""
        return int(self._data.size)

    def objects(self, expression: KeyExpression) -> ObjectIndex:
        """Return the index of objects; built on first use."""
        if self._objects is None:
            self._objects = ObjectIndex(self.keys(0, self.record.rows), expression)
        return self._objects

    def offsets(self, numbers: list[int], places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the file offsets of the values of columns, of shape (batches, columns).

        An offset is -1 if the column has nulls, has no values of fixed width, or is missing (place -1). Offsets are cached,
        since reading the header of a batch takes longer than reading its values.
        """
        if self._offsets is None:
            self._offsets = np.full((len(self._directory), len(self.schema) + 1), UNKNOWN, dtype=np.int32)
            self._offsets[:, -1] = -1
        found = self._offsets[numbers][:, places]
        lacking = np.flatnonzero((found == UNKNOWN).any(axis=1))
        for row in lacking.tolist():
            batch = self.batch(numbers[row])
            for place in places.tolist():
                self._offsets[numbers[row], place] = self._offset_of(batch.column(place)) if place >= 0 else -1
        if len(lacking):
            found = self._offsets[numbers][:, places]
        return found.astype(np.int64)

    def _offset_of(self, column: pa.Array) -> int:
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)) or kind.bit_width not in (32, 64) or column.null_count:
            return -1
        offset = column.buffers()[1].address - self._data.address
        return int(offset) if 0 <= offset < min(self._data.size, FARTHEST) else -1

    def find(self, start: bytes, stop: bytes) -> tuple[int, int]:
        """Find the rows with keys in [start, stop)."""
        if stop <= self.fences[0] or start > self.last_key:
            return 0, 0
        return self._place(start), self._place(stop)

    def _place(self, key: bytes) -> int:
        number = max(int(np.searchsorted(self.fences, key, side="right")) - 1, 0)
        if not self._keys_checked[number]:
            self._check_keys(np.array([number]))
        first = number * BATCH_ROWS
        return first + int(np.searchsorted(self._keys[first : first + BATCH_ROWS], key))

    def first_object(self, expression: KeyExpression) -> bytes:
        """Return the key prefix of the first object."""
        return expression.first_part(bytes(self.fences[0]))

    @cached_property
    def last_key(self) -> bytes:
        """The last row key."""
        return bytes(self.keys(self.record.rows - 1, self.record.rows)[0])

    def key_runs(self, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> list[npt.NDArray[np.bytes_]]:
        """Return the verified keys of runs of rows, each within one batch."""
        if not self._keys_checked.all():
            self._check_keys(np.unique(starts // BATCH_ROWS))
        keys = self._keys
        return [keys[first:last] for first, last in zip(starts.tolist(), (starts + lengths).tolist(), strict=True)]

    def search(self, keys: npt.NDArray[np.bytes_], side: str = "left") -> npt.NDArray[np.int64]:
        """Return the position of each key, as `numpy.searchsorted` does."""
        width = self.record.key_width
        # cut longer keys, which sort after their cut form: at a larger width numpy would copy all keys of the segment
        cut = keys if keys.dtype.itemsize <= width else keys.astype(f"S{width}")
        after = np.char.str_len(keys) > width if cut is not keys else np.zeros(len(keys), dtype=bool)
        after |= side == "right"
        numbers = np.maximum(np.searchsorted(self.fences, cut, side="right") - 1, 0)
        touched = np.unique(numbers)
        self._check_keys(touched)
        if len(touched) <= FEW_BATCHES:
            places = np.empty(len(keys), dtype=np.int64)
            for number in touched.tolist():
                here = numbers == number
                batch_keys = self._keys[number * BATCH_ROWS : (number + 1) * BATCH_ROWS]
                left, right = (np.searchsorted(batch_keys, cut[here], side=at) for at in ("left", "right"))
                places[here] = number * BATCH_ROWS + np.where(after[here], right, left)
            return places
        return self._bisect(cut, after, numbers * BATCH_ROWS)

    def _bisect(
        self, keys: npt.NDArray[np.bytes_], after: npt.NDArray[np.bool_], low: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Find each key's place in the batch that begins at `low`, all keys at once."""
        high = np.minimum(low + BATCH_ROWS, self.record.rows)
        for _ in range(BATCH_ROWS.bit_length()):
            open_ = low < high
            middle = np.where(open_, (low + high) >> 1, 0)
            found = self._keys[middle]
            below = open_ & ((found < keys) | (after & (found == keys)))
            low = np.where(below, middle + 1, low)
            high = np.where(open_ & ~below, middle, high)
        return low

    def _check_keys(self, numbers: npt.NDArray[np.int64]) -> None:
        for number in numbers[~self._keys_checked[numbers]].tolist():
            first = number * BATCH_ROWS
            if zlib.crc32(self._keys[first : first + BATCH_ROWS].tobytes()) != self._directory[number]["key_crc"]:
                raise self._damaged(number)
            self._keys_checked[number] = True

    def _damaged(self, number: int) -> CorruptData:
        """Return the error for a damaged batch, with its key range from the manifest."""
        fences = [key.decode(errors="replace") for key in self.fences[number : number + 2].tolist()]
        span = f"from {fences[0]} up to {fences[1]}" if len(fences) > 1 else f"from {fences[0]} on"
        return CorruptData(f"{self._label} is damaged: wrong checksum, keys {span}", field=self.record.table_name)

    def _map(self, file: Path, size: int) -> pa.Buffer:
        try:
            found = pa.memory_map(str(file)).read_buffer() if size else pa.py_buffer(b"")
        except OSError as error:
            raise CorruptData(f"a file of {self._label} is missing or cannot be read", field=self.record.table_name) from error
        if found.size != size:
            message = f"a file of {self._label} is damaged: it has {found.size} bytes instead of {size}"
            raise CorruptData(message, field=self.record.table_name)
        return found


class SegmentProjection:
    """A segment read as a projection: its columns, order, types and metadata.

    Columns that the segment does not have are nulls of their type. Columns whose type has widened since it was written are
    cast. `direct` lists the places of the columns whose values can be copied from the file, -1 for the others.
    """

    def __init__(self, segment: Segment, columns: Projection) -> None:
        self._segment = segment
        self.key = (segment.record.id, columns.key)
        self.schema = schema = columns.schema
        self.places = [segment.schema.get_field_index(name) for name in schema.names]
        written = [segment.schema.field(place).type if place >= 0 else None for place in self.places]
        pairs = zip(self.places, written, schema, strict=True)
        self.direct = [place if kind == field.type else -1 for place, kind, field in pairs]
        self._whole = -1 not in self.direct
        fields = {field.name: field for field in schema}
        # the segment's schema with the metadata of the projection
        self._read_as = pa.schema([fields.get(field.name, field).with_type(field.type) for field in segment.schema])

    def batch(self, number: int) -> pa.RecordBatch:
        """Read a batch; see `Segment.batch`."""
        batch = self._segment.batch(number, self._read_as)
        if self._whole:
            return batch.select(self.places)
        arrays = [
            widened(batch.column(place), field.type) if place >= 0 else pa.nulls(len(batch), field.type)
            for place, field in zip(self.places, self.schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


class OpenBatch:
    """A batch of a projection, and its size in a message, bytes."""

    __slots__ = ("batch", "bytes")

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self.bytes = int(pa.ipc.get_record_batch_size(batch))


class SegmentCache:
    """A cache of the last opened batches, by segment, number and projection; bounded by their number."""

    def __init__(self, batches: int = 512) -> None:
        self._held: OrderedDict[tuple[int, str, int], OpenBatch] = OrderedDict()
        self._projections: dict[tuple[int, str], SegmentProjection] = {}
        self._most = batches
        self._lock = threading.Lock()

    def keep(self, segments: Collection[int]) -> None:
        """Drop the batches of all other segments, so that their files are closed."""
        with self._lock:
            for key in [key for key in self._held if key[0] not in segments]:
                del self._held[key]
            self._projections.clear()

    def projection(self, segment: Segment, columns: Projection) -> SegmentProjection:
        """Return a segment as a projection, cached."""
        key = (segment.record.id, columns.key)
        found = self._projections.get(key)
        if found is None:
            found = SegmentProjection(segment, columns)
            with self._lock:
                if len(self._projections) >= self._most:
                    self._projections.clear()
                self._projections[key] = found
        return found

    def batch(self, projection: SegmentProjection, number: int) -> OpenBatch:
        """Return a batch of a segment, cached."""
        key = (*projection.key, number)
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        made = OpenBatch(projection.batch(number))
        with self._lock:
            self._held[key] = made
            while len(self._held) > self._most:
                self._held.popitem(last=False)
        return made


def data_file(stem: Path) -> Path:
    """Return the path of a segment's data file."""
    return stem.with_name(stem.name + ".arrow")


def key_file(stem: Path) -> Path:
    """Return the path of a segment's key file."""
    return stem.with_name(stem.name + ".keys")
