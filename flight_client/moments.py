"""Conversion of times as Python has them to those of tickets. Nothing here loads numpy, pandas or astropy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from flight_server.protocol.errors import BadValue
from flight_server.protocol.times import FORMS, NIGHT_FORMS, read_milliseconds, read_night, read_time

__all__ = ["MOMENTS", "moment"]

READERS: dict[str, Callable[[str, Any], float | str]] = {
    "start": read_time,
    "stop": read_time,
    "as_of": read_milliseconds,
    "night": read_night,
}
MOMENTS = tuple(READERS)
IN_TABLE_SCALE = ("start", "stop")
OBJECTS = "a datetime, date, datetime64, Timestamp or Time"
DAY_LENGTH = len("2020-08-31")


def moment(name: str, value: Any, table_scale: Callable[[], str]) -> float | str:
    """Return a time for a ticket.

    Parameters
    ----------
    name
        The field of the ticket, one of `MOMENTS`.
    value
        A number or a text as a ticket has it; a `datetime`, `date`, pandas `Timestamp`, numpy `datetime64`, Arrow scalar
        or astropy `Time`. What has no time zone is UTC; a `Time` is converted from its scale.
    table_scale
        Returns the time scale of the table; only called for a `Time`.

    Raises
    ------
    BadValue
        The value is none of these, missing (NaT, NaN, masked), several values, or outside of 1990 to 2100.

    Examples
    --------
    >>> moment("start", datetime(2020, 8, 31, 9), lambda: "utc"), moment("night", date(2020, 8, 31), lambda: "utc")
    ('2020-08-31T09:00:00', '20200831')
    """
    if hasattr(value, "as_py"):  # a scalar of Arrow
        value = value.as_py()
    if getattr(value, "shape", ()):
        raise BadValue(f"{name} must be one time, not an array of them: pick one, such as [0]", field=name, value=value)
    if _is_missing(value):
        raise BadValue(f"{name} is missing (None, NaN, NaT or masked): leave it out, or give a time", field=name, value=value)
    astropy = sys.modules.get("astropy.time")
    plain: Any = value
    if astropy is not None and isinstance(value, astropy.Time):
        plain = _of_time(name, value, table_scale, astropy.ScaleValueError)
    elif hasattr(value, "dtype"):  # a scalar of numpy
        plain = _of_numpy(name, value)
    if isinstance(plain, datetime):
        plain = _of_datetime(name, plain)
    elif isinstance(plain, date | Decimal):
        plain = str(plain)
    if isinstance(plain, bool) or not isinstance(plain, int | float | str):
        forms = NIGHT_FORMS if name == "night" else FORMS
        raise BadValue(f"{name} must be {forms}, or {OBJECTS}, not {value!r:.60}", field=name, value=value)
    return READERS[name](name, plain)


def _is_missing(value: Any) -> bool:
    mask = getattr(value, "mask", None)  # of numpy and astropy
    if value is None or (mask is not None and not callable(mask) and bool(mask)):
        return True
    try:
        return bool(value != value)  # noqa: PLR0124  (NaN and NaT)
    except TypeError:  # pandas' NA
        return True


def _of_datetime(name: str, value: datetime) -> str:
    if name != "night":
        return value.isoformat()
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).date().isoformat()


def _of_numpy(name: str, value: Any) -> Any:
    """Return a scalar of numpy as Python's; a datetime64 as ISO text, which is exact for all of its units."""
    kind = getattr(value.dtype, "kind", None)
    if kind != "M":
        return value if kind == "m" else value.item()
    text = str(value)
    if name == "night":
        return text[:DAY_LENGTH]
    return text + "-01-01"[len(text) - DAY_LENGTH :] if len(text) < DAY_LENGTH else text


def _of_time(name: str, value: Any, table_scale: Callable[[], str], refused: type[Exception]) -> float | datetime:
    """Return a Time in the scale of the table as JD; for fields that do not depend on the table, as a datetime."""
    scale = table_scale() if name in IN_TABLE_SCALE else "utc"
    try:
        converted = getattr(value, scale)
        return float(converted.jd) if name in IN_TABLE_SCALE else datetime.fromtimestamp(float(converted.unix), UTC)
    except (refused, ValueError, OverflowError, IndexError) as error:
        raise BadValue(f"{name} cannot be converted to {scale}: {error}", field=name, value=value) from error
