"""The digest of an answer: equal for equal cells, however they are cut into batches.

Each column has three running SHA-256 digests:

- validity: one byte per row, 1 if the cell has a value;
- values without nulls: little-endian numbers, the bytes of strings, the items of fixed-size lists;
- lengths of strings, int32.

The digest of the answer is the SHA-256 of name, type and these three, column by column. A tensor is digested as its storage,
a fixed-size list, since that is what a client without tensors gets. For a light curve, the lengths are those of its lists,
and each of its columns follows with name, type and three digests.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Digest"]


class Digest:
    """A running digest of record batches of one schema.

    >>> whole, cut = Digest(pa.schema([("a", pa.int32())])), Digest(pa.schema([("a", pa.int32())]))
    >>> whole.update(pa.record_batch({"a": pa.array([1, None, 3], pa.int32())}))
    >>> for values in ([1], [None, 3]):
    ...     cut.update(pa.record_batch({"a": pa.array(values, pa.int32())}))
    >>> whole.hexdigest() == cut.hexdigest()
    True
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._columns = [_Column(field) for field in schema]

    def update(self, batch: pa.RecordBatch) -> None:
        """Add a batch."""
        for column, cells in zip(self._columns, batch.columns, strict=True):
            column.update(cells)

    def hexdigest(self) -> str:
        """Return the digest so far, 64 hex digits."""
        whole = hashlib.sha256()
        for column in self._columns:
            column.add_to(whole)
        return whole.hexdigest()


class _Column:
    """The running digests of one column and of its nested columns."""

    def __init__(self, field: pa.Field) -> None:
        self._field = field
        self._presence, self._values, self._lengths = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self._within = [_Column(within) for within in field.type.value_type] if pa.types.is_list(field.type) else []

    def update(self, column: pa.Array) -> None:
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        self._presence.update(column.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8))
        held = column.drop_null()
        if pa.types.is_list(held.type):
            self._lengths.update(pc.list_value_length(held).to_numpy())
            for within, cells in zip(self._within, held.flatten().flatten(), strict=True):
                within.update(cells)
        elif pa.types.is_string(held.type) or pa.types.is_binary(held.type):
            self._lengths.update(pc.binary_length(held).to_numpy())
            offsets = (
                np.frombuffer(held.buffers()[1], np.int32)[held.offset : held.offset + len(held) + 1] if len(held) else [0, 0]
            )
            if held.buffers()[2] is not None:
                self._values.update(held.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0])))
        elif pa.types.is_fixed_size_list(held.type):
            self._values.update(held.flatten().to_numpy())
        elif pa.types.is_boolean(held.type):
            self._values.update(held.to_numpy(zero_copy_only=False).astype(np.uint8))
        else:
            self._values.update(held.to_numpy())

    def add_to(self, whole: Hash) -> None:
        whole.update(f"{self._field.name}\0{_type_name(self._field.type)}\0".encode())
        for part in (self._presence, self._values, self._lengths):
            whole.update(part.digest())
        for within in self._within:
            within.add_to(whole)


class Hash(Protocol):
    """A hash object of hashlib."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""


def _type_name(kind: pa.DataType) -> str:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_fixed_size_list(kind):
        # independent of the item name, which differs in files
        return f"fixed_size_list<item: {kind.value_type}>[{kind.list_size}]"
    if pa.types.is_list(kind):
        return "list"  # its columns are digested with their own types
    return str(kind)
