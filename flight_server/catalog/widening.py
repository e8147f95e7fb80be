"""The order of types in which columns widen that the catalog does not type.

Every value of a type is a value of all wider ones: boolean (as 0 and 1), int32, int64 and float64; float32 and float64. The
one exception is an int64 that float64 rounds: the caller tests values for it. Text and numbers share no wider type of
numbers; together they are text.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["is_number", "rounded_by", "widened", "widest"]

# each type with the types that hold all of its values
_WIDER: dict[pa.DataType, tuple[pa.DataType, ...]] = {
    pa.bool_(): (pa.bool_(), pa.int32(), pa.int64(), pa.float64()),
    pa.int32(): (pa.int32(), pa.int64(), pa.float64()),
    pa.int64(): (pa.int64(), pa.float64()),
    pa.float32(): (pa.float32(), pa.float64()),
    pa.float64(): (pa.float64(),),
}


def is_number(kind: pa.DataType) -> bool:
    """Return whether a type of the catalog is boolean, integer or floating-point."""
    return kind in _WIDER


def widest(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """Return the narrowest type of the catalog that represents the values of both; text if one of them is no number.

    Examples
    --------
    >>> str(widest(pa.int32(), pa.float32())), str(widest(pa.bool_(), pa.int64())), str(widest(pa.int64(), pa.string()))
    ('double', 'int64', 'string')
    """
    if first == second:
        return first
    if not is_number(first) or not is_number(second):
        return pa.string()
    return next(kind for kind in _WIDER[first] if kind in _WIDER[second])


def rounded_by(values: pa.Array, kind: pa.DataType) -> npt.NDArray[np.bool_]:
    """Return a mask of the n numbers that a wider type would round: integers that float64 does not represent.

    Examples
    --------
    >>> rounded_by(pa.array([2**53, 2**53 + 1, None]), pa.float64()).tolist()
    [False, True, False]
    """
    if values.type != pa.int64() or kind != pa.float64():
        return np.zeros(len(values), dtype=bool)
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False)
    rounded = numbers.astype(np.float64).astype(np.longdouble) != numbers.astype(np.longdouble)
    return np.asarray(rounded, dtype=bool)


def widened(values: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Return values of a column as the wider type that the column has now.

    Examples
    --------
    >>> widened(pa.array([True, None]), pa.int32()).to_pylist()
    [1, None]
    """
    if values.type == kind:
        return values
    if values.null_count == len(values):
        return pa.nulls(len(values), kind)
    return pc.cast(values, kind, safe=False)
