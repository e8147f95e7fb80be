"""Segments: sorted rows of one table in an Arrow IPC file, and their row keys in a second file.

The data file has record batches of `BATCH_ROWS` rows, the last one fewer, so that the batch of a row follows from its
index. The key file has all row keys at a fixed width, so that a lookup is a binary search on a memory map. Checksums of
batches and their keys are verified on first use, and again once a file has changed. A lookup finds the batch by its first
key, which is in the manifest (`fences`), so that it never reads keys that were not verified.
"""

from __future__ import annotations

import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.columns import Projection
from flight_server.catalog.widening import widened
from flight_server.protocol.errors import CorruptData
from flight_server.storage.embedded.manifest import SegmentRecord
from flight_server.storage.embedded.mapped_files import MappedFile
from flight_server.storage.embedded.objects import ObjectIndex
from flight_server.storage.keys import KeyExpression
from flight_server.storage.regular_files import FileStamp, file_stamp

__all__ = ["BATCH_ROWS", "DIRECTORY", "WRITTEN", "Segment", "SegmentProjection", "data_file", "key_file", "segment_stamp"]

BATCH_ROWS = 1000
FEW_BATCHES = 16
UNKNOWN = -2
FARTHEST = 2**31  # the limit of offsets in int32; segments are smaller
WRITTEN = "_written"  # a column of the store: when the row was written, ms since 1970
DIRECTORY = np.dtype([("offset", "<i8"), ("length", "<i8"), ("rows", "<i8"), ("crc", "<i8"), ("key_crc", "<i8")])


class Segment:
    """An open segment: memory-mapped files, with batches read on first use.

    Attributes
    ----------
    stamp
        What identified the content of the files when they were mapped; see `segment_stamp`.
    damage
        The last damage that was found in the files, by a reader or a scrub; None if there was none.
    generation
        Changes when batches that were read before must be verified again.
    """

    def __init__(self, stem: Path, record: SegmentRecord) -> None:
        self.record = record
        self._stem = stem
        self._label = f"segment {record.name} of {record.table_name}"
        self._files = (
            self._map(data_file(stem), record.data_bytes),
            self._map(key_file(stem), record.rows * record.key_width),
        )
        self.stamp = self._looked = (self._files[0].stamp, self._files[1].stamp)
        self._data, keys = (file.buffer for file in self._files)
        self._keys: npt.NDArray[np.bytes_] = np.frombuffer(keys, dtype=f"S{record.key_width}")
        self.fences: npt.NDArray[np.bytes_] = np.frombuffer(record.fences, dtype=f"S{record.key_width}")
        self._directory = np.frombuffer(record.batches, dtype=DIRECTORY)
        self.generation = 0
        self.damage: CorruptData | None = None
        self.forget()
        if zlib.crc32(self._data.slice(0, int(self._directory[0]["offset"]))) != record.head_crc:
            raise CorruptData(f"the schema of {self._label} is damaged: its checksum is wrong", field=record.table_name)
        # the file begins with the magic bytes, padded to 8 bytes, then the schema message
        self.schema: pa.Schema = pa.ipc.read_schema(pa.ipc.read_message(self._data.slice(8)))

    def forget(self) -> None:
        """Verify everything anew from now on."""
        self._objects: ObjectIndex | None = None
        self._offsets: npt.NDArray[np.int32] | None = None
        self._checked = np.zeros(len(self._directory), dtype=bool)
        self._keys_checked = np.zeros(len(self._directory), dtype=bool)
        self.generation += 1

    def look(self) -> None:
        """Look at the files before their maps are used; verify everything anew if they have changed.

        Files that were deleted or replaced stay mapped, so that a running answer can go on.

        Raises
        ------
        CorruptData
            A file has another size than when it was mapped.
        """
        stamp = segment_stamp(self._stem)
        if stamp == self._looked:
            return
        if not all(file.is_whole(now) for file, now in zip(self._files, stamp, strict=True)):
            raise CorruptData(f"a file of {self._label} has been cut short or extended", field=self.record.table_name)
        self.forget()
        self._looked = stamp

    def recheck(self, number: int) -> None:
        """Verify a batch and its keys, also if they were verified before.

        Raises
        ------
        CorruptData
            They are damaged. Who reads them from now on gets this error too.
        """
        self.look()
        first = number * BATCH_ROWS
        entry = self._directory[number]
        message = self._data.slice(int(entry["offset"]), int(entry["length"]))
        keys = self._keys[first : first + BATCH_ROWS].tobytes()
        if zlib.crc32(message) != entry["crc"] or zlib.crc32(keys) != entry["key_crc"]:
            self.forget()
            raise self._damaged(number)

    def batch(self, number: int, schema: pa.Schema | None = None) -> pa.RecordBatch:
        """Read record batch `number`, zero-copy from the memory map; `schema` may replace the metadata of its columns.

        Raises
        ------
        CorruptData
            Its checksum is wrong; names table and key range.
        """
        entry = self._directory[number]
        message = self._data.slice(int(entry["offset"]), int(entry["length"]))
        checked = self._checked  # another thread may begin anew meanwhile
        if not checked[number]:
            if zlib.crc32(message) != entry["crc"]:
                raise self._damaged(number)
            checked[number] = True
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
        found = self._objects
        if found is None:
            self._objects = found = ObjectIndex(self.keys(0, self.record.rows), expression)
        return found

    def offsets(self, numbers: list[int], places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the file offsets of the values of columns, of shape (batches, columns).

        An offset is -1 if the column has nulls, has no values of fixed width, or is missing (place -1). Offsets are cached,
        since reading the header of a batch takes longer than reading its values.
        """
        offsets = self._offsets
        if offsets is None:
            offsets = np.full((len(self._directory), len(self.schema) + 1), UNKNOWN, dtype=np.int32)
            offsets[:, -1] = -1
            self._offsets = offsets
        found = offsets[numbers][:, places]
        lacking = np.flatnonzero((found == UNKNOWN).any(axis=1))
        for row in lacking.tolist():
            batch = self.batch(numbers[row])
            for place in places.tolist():
                offsets[numbers[row], place] = self._offset_of(batch.column(place)) if place >= 0 else -1
        if len(lacking):
            found = offsets[numbers][:, places]
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
        checked = self._keys_checked
        for number in numbers[~checked[numbers]].tolist():
            first = number * BATCH_ROWS
            if zlib.crc32(self._keys[first : first + BATCH_ROWS].tobytes()) != self._directory[number]["key_crc"]:
                raise self._damaged(number)
            checked[number] = True

    def _damaged(self, number: int) -> CorruptData:
        """Note that a batch is damaged, and return the error for it, with its key range from the manifest."""
        fences = [key.decode(errors="replace") for key in self.fences[number : number + 2].tolist()]
        span = f"from {fences[0]} up to {fences[1]}" if len(fences) > 1 else f"from {fences[0]} on"
        self.damage = CorruptData(f"{self._label} is damaged: wrong checksum, keys {span}", field=self.record.table_name)
        return self.damage

    def _map(self, file: Path, size: int) -> MappedFile:
        try:
            return MappedFile(file, size)
        except FileNotFoundError as error:
            message = f"a file of {self._label} is missing"
            raise CorruptData(message, field=self.record.table_name) from error
        except OSError as error:
            message = f"a file of {self._label} cannot be read: {error.strerror}"
            raise CorruptData(message, field=self.record.table_name) from error
        except ValueError as error:
            message = f"a file of {self._label} is damaged: {error}"
            raise CorruptData(message, field=self.record.table_name) from error


class SegmentProjection:
    """A segment read as a projection: its columns, order, types and metadata.

    Columns that the segment does not have are nulls of their type. Columns whose type has widened since it was written are
    cast. `direct` lists the places of the columns whose values can be copied from the file, -1 for the others.
    """

    def __init__(self, segment: Segment, columns: Projection) -> None:
        self.segment = segment
        self.key = (segment, columns.key)
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
        batch = self.segment.batch(number, self._read_as)
        if self._whole:
            return batch.select(self.places)
        arrays = [
            widened(batch.column(place), field.type) if place >= 0 else pa.nulls(len(batch), field.type)
            for place, field in zip(self.places, self.schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def segment_stamp(stem: Path) -> tuple[FileStamp, FileStamp]:
    """Return numbers that change whenever one of the two files of a segment has other content."""
    return file_stamp(f"{stem}.arrow"), file_stamp(f"{stem}.keys")


def data_file(stem: Path) -> Path:
    """Return the path of a segment's data file."""
    return stem.with_name(stem.name + ".arrow")


def key_file(stem: Path) -> Path:
    """Return the path of a segment's key file."""
    return stem.with_name(stem.name + ".keys")
