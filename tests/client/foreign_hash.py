"""The canonical column hash of tests/go_client/hash.go, in Python."""

import hashlib
from itertools import pairwise

import pyarrow as pa


def column_hash(column: pa.Array | pa.ChunkedArray) -> str:
    """Return the sha256 hex digest over the canonical values of a column."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    digest = hashlib.sha256()
    for chunk in chunks:
        for value in _encode(chunk):
            digest.update(value)
    return digest.hexdigest()


def _encode(array: pa.Array) -> list[bytes]:
    """Encode each row: 0x00 for null, else 0x01 and the value."""
    valid = array.is_valid().to_pylist()
    values = _encode_values(array)
    return [b"\x01" + v if ok else b"\x00" for ok, v in zip(valid, values, strict=True)]


def _encode_values(array: pa.Array) -> list[bytes]:
    """Encode each row without its null byte; null rows give arbitrary bytes."""
    if isinstance(array, pa.ExtensionArray):  # what is not known there is what it is stored as
        array = array.storage
    t = array.type
    if pa.types.is_boolean(t):
        return [b"\x01" if v else b"\x00" for v in array.to_pylist()]
    if pa.types.is_string(t) or pa.types.is_large_string(t):
        # Not to_pylist: it would fail on what is not UTF-8.
        array = array.view(pa.binary() if pa.types.is_string(t) else pa.large_binary())
        return _encode_values(array)
    if pa.types.is_binary(t) or pa.types.is_large_binary(t):
        return [_length(v or b"") + (v or b"") for v in array.to_pylist()]
    if pa.types.is_struct(t):
        fields = [_encode(array.field(i)) for i in range(t.num_fields)]
        return [b"".join(row) for row in zip(*fields, strict=True)] if fields else [b""] * len(array)
    if pa.types.is_fixed_size_list(t):
        starts = [(array.offset + i) * t.list_size for i in range(len(array) + 1)]
        return _encode_lists(array.values, starts)
    if pa.types.is_list(t) or pa.types.is_large_list(t):
        return _encode_lists(array.values, array.offsets.to_pylist() if len(array) else [0])
    if pa.types.is_integer(t) or t in (pa.float32(), pa.float64()) or pa.types.is_timestamp(t):
        width = t.bit_width // 8
        if len(array) == 0:
            return []
        raw = array.buffers()[1].to_pybytes()
        starts = range(array.offset * width, (array.offset + len(array)) * width, width)
        return [raw[s : s + width] for s in starts]
    raise TypeError(f"no canonical hash for type {t}")


def _encode_lists(items: pa.Array, offsets: list[int]) -> list[bytes]:
    encoded = _encode(items.slice(offsets[0], offsets[-1] - offsets[0]))
    rows = [encoded[a - offsets[0] : b - offsets[0]] for a, b in pairwise(offsets)]
    return [_length(row) + b"".join(row) for row in rows]


def _length(value: bytes | list[bytes]) -> bytes:
    return len(value).to_bytes(4, "little")
