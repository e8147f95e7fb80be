"""Exact casts of values to the types of the catalog."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.columns import TYPES
from flight_server.ingest.plain_values import time_text
from flight_server.protocol.errors import BadValue

__all__ = ["cast_exactly", "stored_type", "widest"]

INFINITE = ("inf", "+inf", "-inf", "infinity", "+infinity", "-infinity")
SMALL_INTEGERS = (pa.int8(), pa.int16(), pa.uint8(), pa.uint16())


def cast_exactly(values: pa.Array, kind: pa.DataType, column: str) -> pa.Array:
    """Cast values to a type without losing anything; float64 becomes float32 by rounding to nearest.

    Parameters
    ----------
    values
        n values of any type that is not nested.
    kind
        The target type.
    column
        The name of the column, for the error.

    Raises
    ------
    BadValue
        A value does not fit; the message names column, row and value.

    Examples
    --------
    >>> cast_exactly(pa.array([1.0, None]), pa.int32(), "i:fid").to_pylist()
    [1, None]
    """
    try:
        values = _simple(values)
    except pa.ArrowInvalid as error:
        raise BadValue(f"column {column}, {error}"[:200], field=column) from error
    if values.type == kind:
        return _checked(values, column)
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), kind)
    try:
        # the cast checks text only; numbers are checked below, since they may be rounded
        if _is_text(values.type) and not pa.types.is_binary(kind):
            values = values.cast(pa.string())
        cast = values.cast(kind, safe=_is_text(values.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _misfit(values, kind, column, _first_failure(values, kind)) from None
    wrong = _misfits(values, cast)
    if wrong.any():
        raise _misfit(values, kind, column, int(np.argmax(wrong)))
    return cast


def _checked(values: pa.Array, column: str) -> pa.Array:
    """Return the values, after checking that text is UTF-8, which files do not guarantee."""
    if pa.types.is_string(values.type):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid as error:
            raise BadValue(f"column {column} holds text that is not UTF-8: {error}"[:200], field=column) from None
    return values


def _simple(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the same values as one array of a type that numpy supports."""
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    if pa.types.is_temporal(flat.type):
        return time_text(flat)
    return flat.cast(pa.float64()) if pa.types.is_decimal(flat.type) or pa.types.is_float16(flat.type) else flat


def _misfits(values: pa.Array, cast: pa.Array) -> npt.NDArray[np.bool_]:
    """Return a mask of values that the cast changed by more than rounding to float32."""
    source, kind = values.type, cast.type
    if pa.types.is_floating(kind) and _is_text(source):  # a number too large for the type is parsed as infinity
        return _infinite(cast) & ~np.isin(pc.utf8_lower(values).to_numpy(zero_copy_only=False), INFINITE)
    if not _is_number(source) or not (_is_number(kind) or pa.types.is_boolean(kind)):
        return np.zeros(len(values), dtype=bool)
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False)
    if pa.types.is_boolean(kind):
        wrong = (numbers != 0) & (numbers != 1)
    elif pa.types.is_integer(kind):
        bounds = np.iinfo(kind.to_pandas_dtype())
        if pa.types.is_integer(source):
            wrong = (numbers < bounds.min) | (numbers > bounds.max)
        else:  # the upper bound is not a float, but upper bound + 1 is
            wrong = ~((numbers >= float(bounds.min)) & (numbers < -float(bounds.min)) & (np.trunc(numbers) == numbers))
    elif pa.types.is_integer(source):
        wrong = cast.fill_null(0).to_numpy(zero_copy_only=False).astype(np.longdouble) != numbers.astype(np.longdouble)
    else:
        wrong = np.isfinite(numbers) & _infinite(cast)
    return np.asarray(wrong, dtype=bool)


def _infinite(values: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isinf(values.fill_null(0).to_numpy(zero_copy_only=False)), dtype=bool)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in (*tests, pa.types.is_fixed_size_binary))


def _first_failure(values: pa.Array, kind: pa.DataType) -> int:
    for row in range(len(values)):
        try:
            values.slice(row, 1).cast(kind, safe=_is_text(values.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return row
    return 0


def _misfit(values: pa.Array, kind: pa.DataType, column: str, row: int) -> BadValue:
    value = values[row].as_py() if len(values) else values.type
    return BadValue(f"column {column}, row {row}: {str(value)[:40]!r} does not fit into {kind}", field=column, value=value)


def stored_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the catalog type for a column unknown to the catalog, or None if its values are not single cells.

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
    """Return the type that represents the values of both.

    >>> str(widest(pa.int32(), pa.float32()))
    'double'
    """
    if first == second:
        return first
    numbers = {pa.int32(): 1, pa.int64(): 2, pa.float32(): 3, pa.float64(): 4}
    if first in numbers and second in numbers:
        return pa.int64() if {first, second} == {pa.int32(), pa.int64()} else pa.float64()
    return pa.string()
