"""The digest of an answer: the same for the same cells, however they were cut into batches.

Each column has three running SHA-256: of one byte per row that says whether the cell is there, of the cells'
values (little-endian numbers; the bytes of texts; the items of lists of fixed length; nulls left out), and of the
lengths of texts as int32. The digest is the SHA-256 of name, type and those three, column by column. A tensor counts
as what it is stored as, a list of fixed length, since that is what a client sees which knows no tensors.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

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
        self._schema = schema
        self._columns = [(hashlib.sha256(), hashlib.sha256(), hashlib.sha256()) for _ in schema]

    def update(self, batch: pa.RecordBatch) -> None:
        """Take in one more batch."""
        for (presence, values, lengths), column in zip(self._columns, batch.columns, strict=True):
            if isinstance(column, pa.ExtensionArray):
                column = column.storage  # noqa: PLW2901  (what it is stored as takes its place)
            presence.update(column.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8))
            held = column.drop_null()
            if pa.types.is_string(held.type) or pa.types.is_binary(held.type):
                lengths.update(pa.compute.binary_length(held).to_numpy())
                offsets = (
                    np.frombuffer(held.buffers()[1], np.int32)[held.offset : held.offset + len(held) + 1] if len(held) else [0, 0]
                )
                if held.buffers()[2] is not None:
                    values.update(held.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0])))
            elif pa.types.is_fixed_size_list(held.type):
                values.update(held.flatten().to_numpy())
            elif pa.types.is_boolean(held.type):
                values.update(held.to_numpy(zero_copy_only=False).astype(np.uint8))
            else:
                values.update(held.to_numpy())

    def hexdigest(self) -> str:
        """Give the digest so far, 64 hex digits."""
        whole = hashlib.sha256()
        for field, parts in zip(self._schema, self._columns, strict=True):
            whole.update(f"{field.name}\0{_type_name(field.type)}\0".encode())
            for part in parts:
                whole.update(part.digest())
        return whole.hexdigest()


def _type_name(kind: pa.DataType) -> str:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_fixed_size_list(kind):
        # files give the items other names
        return f"fixed_size_list<item: {kind.value_type}>[{kind.list_size}]"
    return str(kind)
