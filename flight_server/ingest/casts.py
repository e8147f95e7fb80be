"""Exact casts of values to the types of the catalog."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.columns import TYPES
from flight_server.catalog.missing import missing_as_null
from flight_server.catalog.widening import is_number
from flight_server.ingest.plain_values import time_text
from flight_server.protocol.errors import BadValue

__all__ = ["cast_exactly", "cast_open", "stored_type"]

INFINITE = ("inf", "+inf", "-inf", "infinity", "+infinity", "-infinity")
SMALL_INTEGERS = (pa.int8(), pa.int16(), pa.uint8(), pa.uint16())


def cast_exactly(
    values: pa.Array | pa.ChunkedArray, kind: pa.DataType, column: str, rounded: Counter[str] | None = None
) -> pa.Array:
    """Cast values to a type without losing anything; float64 becomes float32 by rounding to nearest, NaN null if it has no NaN.

    Parameters
    ----------
    values
        n values of any type that is not nested.
    kind
        The target type.
    column
        The name of the column, for the error.
    rounded
        The number of values that lose decimal digits by rounding is added to it, under the name of the column.

    Raises
    ------
    BadValue
        A value does not fit; the message names column, row and value.

    Examples
    --------
    >>> cast_exactly(pa.array([1.0, None]), pa.int32(), "i:fid").to_pylist()
    [1, None]
    """
    values = _simple(values, column)
    if pa.types.is_floating(values.type) and not pa.types.is_floating(kind):
        values = missing_as_null(values)  # pandas writes missing integers, flags and texts as NaN
    if values.type == kind:
        return _checked(values, column)
    if values.null_count == len(values):
        return pa.nulls(len(values), kind)
    try:
        if _is_text(values.type) and not pa.types.is_binary(kind):
            values = values.cast(pa.string())
        cast = _converted(values, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _misfit(values, kind, column, _first_failure(values, kind)) from None
    wrong = _misfits(values, cast)
    if wrong.any():
        raise _misfit(values, kind, column, int(np.argmax(wrong)))
    if rounded is not None and (lost := _digits_lost(values, cast)):
        rounded[column] += lost
    return cast


def cast_open(values: pa.Array | pa.ChunkedArray, kind: pa.DataType, column: str) -> pa.Array:
    """Cast values to the type of a column that the catalog does not type, exactly; text never becomes a number.

    Parameters
    ----------
    values, kind, column
        As for `cast_exactly`.

    Raises
    ------
    BadValue
        A value does not fit; the message names column, row and value, and says what to do.

    Examples
    --------
    >>> cast_open(pa.array([1, None]), pa.string(), "d:note").to_pylist()
    ['1', None]
    """
    flat = _simple(values, column)
    if not is_number(kind):
        return cast_exactly(flat, kind, column)
    numeric = _is_number(flat.type) or pa.types.is_boolean(flat.type) or pa.types.is_decimal(flat.type)
    if not numeric and flat.null_count < len(flat):
        row = int(np.argmax(flat.is_valid().to_numpy(zero_copy_only=False)))
        raise BadValue(
            f"column {column}, row {row}: {str(flat[row].as_py())[:40]!r} is text, but the column holds numbers ({kind}): "
            f"rename the column in the file, or turn its values into numbers",
            field=column,
            value=flat[row].as_py(),
        )
    try:
        return cast_exactly(flat, kind, column)
    except BadValue as error:
        raise BadValue(
            f"{error.message}, and no type holds it and the other values of the column exactly: "
            f"rename the column in the file, or change the value",
            field=column,
            value=error.value,
        ) from None


def _checked(values: pa.Array, column: str) -> pa.Array:
    """Return the values, after checking that text is UTF-8, which files do not guarantee."""
    if pa.types.is_string(values.type):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid as error:
            raise BadValue(f"column {column} holds text that is not UTF-8: {error}"[:200], field=column) from None
    return values


def _simple(values: pa.Array | pa.ChunkedArray, column: str) -> pa.Array:
    """Return the same values as one array of a type that numpy supports; name the column of a time that no calendar has."""
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    if pa.types.is_temporal(flat.type):
        try:
            return time_text(flat)
        except pa.ArrowInvalid as error:
            raise BadValue(f"column {column}, {error}"[:200], field=column) from error
    return flat.cast(pa.float64()) if pa.types.is_float16(flat.type) else flat


def _converted(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast text and decimals with Arrow's checks, and other numbers without, since they may be rounded."""
    if not pa.types.is_decimal(values.type):
        return values.cast(kind, safe=_is_text(values.type))
    if pa.types.is_floating(kind):  # Arrow's own cast is not to the nearest number
        return values.cast(pa.string()).cast(kind)
    return values.cast(pa.int64() if pa.types.is_boolean(kind) else kind).cast(kind)


def _misfits(values: pa.Array, cast: pa.Array) -> npt.NDArray[np.bool_]:
    """Return a mask of values that the cast changed by more than rounding to float32."""
    if pa.types.is_decimal(values.type) and pa.types.is_boolean(cast.type):
        values = values.cast(pa.int64())
    source, kind = values.type, cast.type
    if pa.types.is_floating(kind) and pa.types.is_decimal(source):
        return _infinite(cast)
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


def _digits_lost(values: pa.Array, cast: pa.Array) -> int:
    """Return the number of values with more decimal digits than the floating-point type to which they were cast."""
    source, kind = values.type, cast.type
    if not pa.types.is_floating(kind) or not (pa.types.is_floating(source) or pa.types.is_decimal(source)):
        return 0
    if pa.types.is_decimal(source):
        pairs = zip(values.drop_null().to_pylist(), cast.drop_null().cast(pa.string()).to_pylist(), strict=True)
        return sum(Decimal(text) != value for value, text in pairs)
    changed = pc.and_(pc.not_equal(cast.cast(pa.float64()), values.cast(pa.float64())), pc.is_finite(values))
    kept = cast.filter(changed).cast(pa.string()).cast(pa.float64())  # the shortest decimals of the rounded values
    return int(pc.sum(pc.not_equal(kept, values.filter(changed).cast(pa.float64()))).as_py() or 0)


def _first_failure(values: pa.Array, kind: pa.DataType) -> int:
    for row in range(len(values)):
        try:
            _converted(values.slice(row, 1), kind)
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
