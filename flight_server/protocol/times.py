"""Times in tickets: which forms are read, and their conversion to the time column of a table.

The ranges of numbers do not overlap, so that a number alone says what it is. Seconds since 1970 are refused: a number such as
2020083109 would be both a date with an hour and a time in 2034.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from flight_server.protocol.errors import BadValue, NotSupported

__all__ = [
    "FORMS",
    "NIGHT_FORMS",
    "check_order",
    "number_format",
    "read_milliseconds",
    "read_night",
    "read_time",
    "to_table_time",
]

# complete "FIELD must be ...", with room for the value in 299 characters
FORMS = (
    "a time from 1990 to 2100: 2020-08-31, 2020-08-31T09:07:44Z, 20200831, a JD (2459092.88), an MJD (59092.38)"
    " or milliseconds since 1970"
)
NIGHT_FORMS = "a date from 1990 to 2100, 20200831 or 2020-08-31, or the beginning of one, 202008 or 2020-08"
FIRST_YEAR, LAST_YEAR = 1990, 2100
JD_RANGE = 2_447_892.5, 2_488_434.5  # from 1990-01-01 to 2101-01-01, which is excluded
MJD_ZERO = 2_400_000.5
MJD_RANGE = JD_RANGE[0] - MJD_ZERO, JD_RANGE[1] - MJD_ZERO
MILLISECONDS_RANGE = 631_152_000_000, 4_133_980_800_000
COMPACT_RANGE = 19_900_101, 21_001_232
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNIX_EPOCH_JD = 2_440_587.5
SECONDS_PER_DAY = 86_400.0
LONGEST_SHOWN = 60

# what `float` and `datetime.fromisoformat` read besides, such as `1_0` or any character before the time of day, is refused
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d|\d{8})([T ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?(Z|[+-]\d\d(:?\d\d(:?\d\d)?)?)?)?", re.ASCII | re.IGNORECASE
)
NIGHT = re.compile(r"\d{1,8}|\d{4}-\d\d(-\d\d)?", re.ASCII)


def read_time(name: str, value: float | str) -> float | str:
    """Read a time: return a JD or an MJD as a number, a date as ISO 8601 text (UTC unless it has an offset).

    A text of a number is that number. What was read is read again to the same.

    Parameters
    ----------
    name
        The ticket field, for errors.
    value
        A number or a text.

    Raises
    ------
    BadValue
        It has none of the forms, or is outside of 1990 to 2100.

    Examples
    --------
    >>> read_time("start", " 2459092.75 "), read_time("start", 20200831), read_time("start", 1598864864996)
    (2459092.75, '2020-08-31', '2020-08-31T09:07:44.996000+00:00')
    """
    found: float | str | None
    if isinstance(value, str):
        text = value.strip()
        found = _of_number(float(text)) if NUMBER.fullmatch(text) else text if _utc(text) else None
    else:
        found = _of_number(value)
    if found is None:
        raise BadValue(f"{name} must be {FORMS}, not {value!r:.{LONGEST_SHOWN}}", field=name, value=value)
    return found


def read_milliseconds(name: str, value: float | str) -> int:
    """Read a time as milliseconds since 1970. A JD or an MJD counts as UTC.

    Raises
    ------
    BadValue
        As for `read_time`.

    Examples
    --------
    >>> read_milliseconds("as_of", "2020-08-31T09:07:44.996"), read_milliseconds("as_of", 1598864864996)
    (1598864864996, 1598864864996)
    """
    found = read_time(name, value)
    if isinstance(found, str):
        return (_datetime(found) - UNIX_EPOCH) // timedelta(milliseconds=1)
    # a JD has steps of 0.04 ms
    return round((_jd(found) - UNIX_EPOCH_JD) * SECONDS_PER_DAY * 1000)


def read_night(name: str, value: int | str) -> str:
    """Read the date of a night, or the beginning of one, and return its digits.

    Raises
    ------
    BadValue
        No date from 1990 to 2100 begins so.

    Examples
    --------
    >>> read_night("night", "2020-08-31"), read_night("night", "2020-08"), read_night("night", 2020)
    ('20200831', '202008', '2020')
    """
    text = str(value).strip()
    if NIGHT.fullmatch(text):
        digits = text.replace("-", "")
        if any(date.startswith(digits) for date in _dates(digits[:4])):
            return digits
    raise BadValue(f"{name} must be {NIGHT_FORMS}, not {value!r:.{LONGEST_SHOWN}}", field=name, value=value)


def number_format(value: float) -> Literal["jd", "mjd"] | None:
    """Return whether a number is read as JD or as MJD, or None for any other.

    >>> number_format(2459092.75), number_format(59092.25), number_format(2020)
    ('jd', 'mjd', None)
    """
    if _within(value, JD_RANGE):
        return "jd"
    return "mjd" if _within(value, MJD_RANGE) else None


def to_table_time(name: str, value: float | str, time_format: str, time_scale: str | None) -> float:
    """Convert a time in a ticket to a value of a table's time column.

    Parameters
    ----------
    name
        The ticket field, for errors.
    value
        As for `read_time`; JD and MJD are in the table's own scale.
    time_format
        The column's format, `jd` or `mjd`, days.
    time_scale
        The column's scale, such as `utc`.

    Raises
    ------
    BadValue
        As for `read_time`.
    NotSupported
        The time is a date, but the time scale is neither UTC nor TAI.

    Examples
    --------
    >>> to_table_time("start", "2020-08-31T09:07:44.996", "jd", "utc")
    2459092.880381898
    >>> to_table_time("start", 59092.25, "jd", "utc")
    2459092.75
    >>> to_table_time("start", "2026-03-09T23:59:23Z", "mjd", "tai")
    61109.0
    """
    found = read_time(name, value)
    if isinstance(found, str):
        if time_scale not in {"utc", "tai"}:
            raise NotSupported(f"{name} can be a date only for tables in UTC or TAI: use a JD or an MJD", field=name, value=value)
        if time_scale == "tai":
            return _tai(_datetime(found), time_format)
        since = _datetime(found) - UNIX_EPOCH
        jd = UNIX_EPOCH_JD + since.days + (since.seconds + since.microseconds / 1e6) / SECONDS_PER_DAY
    elif number_format(found) == time_format:
        return found
    else:
        jd = _jd(found)
    return jd if time_format == "jd" else jd - MJD_ZERO


def _tai(utc: datetime, time_format: str) -> float:
    """Return a JD or an MJD in TAI; the leap seconds are those that the IAU's library knows."""
    import erfa

    clock = (utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second + utc.microsecond / 1e6)
    # the ufuncs report dubious years (far future) by a status, not by a warning
    day, fraction, _ = erfa.ufunc.dtf2d(b"UTC", *clock)
    day, fraction, _ = erfa.ufunc.utctai(day, fraction)
    return float(day + fraction) if time_format == "jd" else float((day - MJD_ZERO) + fraction)


def check_order(start: float | str, stop: float | str) -> None:
    """Raise `BadValue` if the bounds of a ticket exclude all times. A number beside a date is in UTC, as the date is."""
    first, end = (to_table_time(name, value, "jd", "utc") for name, value in (("start", start), ("stop", stop)))
    if first > end:
        raise BadValue(f"start {start} is after stop {stop}", field="start", value=start)


def _jd(number: float) -> float:
    return number + MJD_ZERO if number_format(number) == "mjd" else number


def _of_number(number: float) -> float | str | None:
    if number_format(number) is not None:
        return float(number)
    if _within(number, MILLISECONDS_RANGE):
        return (UNIX_EPOCH + timedelta(milliseconds=number)).isoformat()
    if _within(number, COMPACT_RANGE) and float(number).is_integer():
        date = str(int(number))
        return f"{date[:4]}-{date[4:6]}-{date[6:]}" if _utc(date) else None
    return None


def _utc(text: str) -> datetime | None:
    """Return the UTC time of a date from 1990 to 2100, or None for any other text."""
    if not DATE_TIME.fullmatch(text):
        return None
    try:
        found = _datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if FIRST_YEAR <= found.year <= LAST_YEAR else None


def _datetime(text: str) -> datetime:
    """Parse a date; more digits than microseconds are dropped."""
    found = datetime.fromisoformat(text.upper())
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _within(number: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= number < bounds[1]


def _dates(beginning: str) -> Iterator[str]:
    """Yield the dates whose years begin with up to four digits, as YYYYMMDD."""
    for year in range(FIRST_YEAR, LAST_YEAR + 1):
        if str(year).startswith(beginning):
            for month in range(1, 13):
                for day in range(1, monthrange(year, month)[1] + 1):
                    yield f"{year}{month:02}{day:02}"
