"""Single values in their plain form: for each value one Arrow type, whichever of Arrow's types it was written with."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["duration_text", "plain_value_type", "plain_values", "time_text", "uuid_text"]

EXACT_DIGITS = 15  # every decimal number of so many digits is a double of its own
LONG_DIGITS = 18
BEYOND_TEXT = "<value out of range"  # how Arrow writes a time that no calendar has
NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def plain_value_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the plain form of values that are not nested; other types are returned unchanged.

    Text is a string and bytes are binary. Decimal numbers are long integers or doubles if these hold each of them
    exactly, else text. Times are in UTC if they have a zone, in microseconds unless they have nanoseconds.

    >>> [str(plain_value_type(kind)) for kind in (pa.large_string(), pa.decimal128(9, 2), pa.timestamp("ms"), pa.uint8())]
    ['string', 'double', 'timestamp[us]', 'uint8']
    """
    if pa.types.is_temporal(kind):
        return _plain_time_type(kind)
    if pa.types.is_decimal(kind):
        return _plain_number_type(kind)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or isinstance(kind, pa.UuidType):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if isinstance(kind, pa.Bool8Type):
        return pa.bool_()
    return pa.float32() if pa.types.is_float16(kind) else kind


def _plain_time_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("ns" if kind.unit == "ns" else "us", None if kind.tz is None else "UTC")
    if pa.types.is_time(kind):
        return pa.time64("ns" if kind.unit == "ns" else "us")
    return pa.date32() if pa.types.is_date(kind) else pa.string()  # durations as text of ISO 8601


def _plain_number_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that holds every decimal number of a type exactly."""
    if kind.scale <= 0 and kind.precision - kind.scale <= LONG_DIGITS:
        return pa.int64()
    return pa.float64() if kind.scale > 0 and kind.precision <= EXACT_DIGITS else pa.string()


def plain_values(values: pa.Array) -> pa.Array:
    """Return n values that are not nested in their plain form.

    Raises
    ------
    ArrowInvalid
        A value has no plain form, such as a time that no calendar has.

    Examples
    --------
    >>> plain_values(pa.array([1_500, None], pa.duration("ms"))).to_pylist()
    ['PT1.5S', None]
    >>> plain_values(pa.array([Decimal("1.50")], pa.decimal128(38, 10))).to_pylist()
    ['1.5']
    """
    kind, plain = values.type, plain_value_type(values.type)
    if kind == plain:
        return values
    if isinstance(kind, pa.UuidType):
        texts = [None if value is None else uuid_text(value) for value in values.storage.to_pylist()]
        return pa.array(texts, pa.string())
    if isinstance(kind, pa.Bool8Type):
        return pc.not_equal(values.storage, 0)
    if pa.types.is_decimal(kind):
        return _decimals(values, plain)
    if pa.types.is_duration(kind) or pa.types.is_interval(kind):
        return _durations(values)
    return values.cast(plain)


def time_text(values: pa.Array) -> pa.StringArray:
    """Return n dates, times or timestamps as text, with nanoseconds only where there are some.

    Raises
    ------
    ArrowInvalid
        No calendar has the time.

    Examples
    --------
    >>> time_text(pa.array([1_500_000_000, 1], pa.timestamp("ns", "UTC"))).to_pylist()
    ['1970-01-01 00:00:01.500000Z', '1970-01-01 00:00:00.000000001Z']
    """
    texts = pc.replace_substring_regex(plain_values(values).cast(pa.string()), r"(\.\d{6})000(Z?)$", r"\1\2")
    beyond = pc.fill_null(pc.starts_with(texts, BEYOND_TEXT), fill_value=False)
    if pc.any(beyond).as_py():
        raise pa.ArrowInvalid(f"row {pc.index(beyond, value=True).as_py()}: a {values.type} that no calendar has")
    return texts


def _decimals(values: pa.Array, plain: pa.DataType) -> pa.Array:
    if pa.types.is_integer(plain):
        return values.cast(plain)
    if pa.types.is_floating(plain):
        return values.cast(pa.string()).cast(plain)  # parsing rounds to the nearest double, the direct cast may not
    texts = [None if value is None else _shortest(value) for value in values.to_pylist()]
    return pa.array(texts, pa.string())


def _shortest(value: Decimal) -> str:
    """Return all digits of a number, without an exponent and without zeros at the end of a fraction."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _durations(values: pa.Array) -> pa.StringArray:
    """Return durations as text of ISO 8601."""
    if pa.types.is_duration(values.type):
        scale = NANOSECONDS[values.type.unit]
        found = [None if value is None else (0, 0, value * scale) for value in values.view(pa.int64()).to_pylist()]
    else:
        found = values.to_pylist()
    return pa.array([None if value is None else duration_text(*value) for value in found], pa.string())


def duration_text(months: int, days: int, nanoseconds: int) -> str:
    """Return a duration as text of ISO 8601.

    >>> duration_text(1, 2, 3_500_000_000), duration_text(0, 0, -1), duration_text(0, 0, 0)
    ('P1M2DT3.5S', 'PT-0.000000001S', 'PT0S')
    """
    date = "".join(f"{number}{unit}" for number, unit in ((months, "M"), (days, "D")) if number)
    if not nanoseconds and date:
        return f"P{date}"
    whole, part = divmod(abs(nanoseconds), NANOSECONDS["s"])
    fraction = f".{part:09d}".rstrip("0") if part else ""
    return f"P{date}T{'-' if nanoseconds < 0 else ''}{whole}{fraction}S"


def uuid_text(content: bytes) -> str:
    """Return a UUID of 16 bytes as text.

    >>> uuid_text(bytes(16))
    '00000000-0000-0000-0000-000000000000'
    """
    return str(uuid.UUID(bytes=content))
