"""Values as the catalogue types them: exactly, or not at all."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalogue import TYPES
from flight_server.errors import BadValue

__all__ = ["cast_exactly", "stored_type", "widest"]


SMALL_INTEGERS = (pa.int8(), pa.int16(), pa.uint8(), pa.uint16())


def cast_exactly(values: pa.Array, kind: pa.DataType, column: str) -> pa.Array:
    """Cast values to a type without losing anything; float64 becomes float32 by rounding to nearest.

    Parameters
    ----------
    values
        n values of any type that is not nested.
    kind
        The type wanted.
    column
        The column's name, for the error.

    Raises
    ------
    BadValue
        A value does not fit; names column, row and value.

    Examples
    --------
    >>> cast_exactly(pa.array([1.0, None]), pa.int32(), "i:fid").to_pylist()
    [1, None]
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if values.type == kind:
        return values
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), kind)
    try:
        cast = values.cast(kind, safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _misfit(values, kind, column, _first_failure(values, kind)) from None
    wrong = _misfits(values, cast)
    if wrong is not None:
        row = pc.index(pc.fill_null(wrong, fill_value=False), value=True).as_py()
        if row >= 0:
            raise _misfit(values, kind, column, row)
    return cast


def _misfits(values: pa.Array, cast: pa.Array) -> pa.Array | None:
    """Mark the values that the cast changed by more than rounding to float32."""
    source, kind = values.type, cast.type
    if pa.types.is_floating(source) and pa.types.is_floating(kind):
        return pc.and_(pc.is_finite(values), pc.invert(pc.is_finite(cast)))
    if pa.types.is_integer(kind) or (pa.types.is_integer(source) and pa.types.is_floating(kind)):
        if pa.types.is_string(source) or pa.types.is_boolean(source):
            return None
        return pc.fill_null(pc.not_equal(cast.cast(source, safe=False), values), fill_value=False)
    return None


def _first_failure(values: pa.Array, kind: pa.DataType) -> int:
    for row in range(len(values)):
        try:
            values.slice(row, 1).cast(kind, safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return row
    return 0


def _misfit(values: pa.Array, kind: pa.DataType, column: str, row: int) -> BadValue:
    value = values[row].as_py()
    return BadValue(f"column {column}, row {row}: {str(value)[:40]!r} does not fit into {kind}", field=column, value=value)


def stored_type(kind: pa.DataType) -> pa.DataType | None:
    """Give the catalogue type for a column that the catalogue does not know, None where it cannot be one cell.

    >>> str(stored_type(pa.int16()))
    'int32'
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if kind in TYPES.values():
        return kind
    if pa.types.is_integer(kind):
        return pa.int32() if kind in SMALL_INTEGERS else pa.int64()
    if pa.types.is_floating(kind):
        return pa.float32()
    if pa.types.is_large_string(kind) or pa.types.is_temporal(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    return None


def widest(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """Give the type that holds the values of both.

    >>> str(widest(pa.int32(), pa.float32()))
    'double'
    """
    if first == second:
        return first
    numbers = {pa.int32(): 1, pa.int64(): 2, pa.float32(): 3, pa.float64(): 4}
    if first in numbers and second in numbers:
        return pa.int64() if {first, second} == {pa.int32(), pa.int64()} else pa.float64()
    return pa.string()
