"""Conversion of times in tickets (JD, MJD, ISO 8601) to the format of a table's time column."""

from __future__ import annotations

from datetime import UTC, datetime

from flight_server.protocol.errors import BadValue, NotSupported

__all__ = ["to_table_time"]

JD_FROM = 2_400_000.0  # numbers from this one on are JD, smaller ones MJD
MJD_ZERO = 2_400_000.5
UNIX_EPOCH_JD = 2_440_587.5
SECONDS_PER_DAY = 86_400.0


def to_table_time(name: str, value: float | str, time_format: str, time_scale: str | None) -> float:
    """Convert a time in a ticket to a value of a table's time column.

    Parameters
    ----------
    name
        The ticket field, for errors.
    value
        JD or MJD in the table's own scale, or ISO 8601 text in UTC.
    time_format
        The column's format, `jd` or `mjd`, days.
    time_scale
        The column's scale, such as `utc`.

    Raises
    ------
    BadValue
        The text is no date.
    NotSupported
        The time is text, but the time scale is not UTC.

    Examples
    --------
    >>> to_table_time("start", "2020-08-31T09:07:44.996", "jd", "utc")
    2459092.880381898
    >>> to_table_time("start", 59092.25, "jd", "utc")
    2459092.75
    """
    if not isinstance(value, str) and value < JD_FROM and time_format == "mjd":
        return value
    if isinstance(value, str):
        if time_scale != "utc":
            raise NotSupported(f"{name} can be text only for tables in UTC: use a JD or MJD number", field=name, value=value)
        jd = _jd_of_iso(name, value)
    else:
        jd = value if value >= JD_FROM else value + MJD_ZERO
    return jd if time_format == "jd" else jd - MJD_ZERO


def _jd_of_iso(name: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        message = f"{name} is not a valid date: {text[:60]!r}; write it as 2020-08-31T09:07:44, or as JD or MJD"
        raise BadValue(message, field=name, value=text) from None
    return UNIX_EPOCH_JD + since.days + (since.seconds + since.microseconds / 1e6) / SECONDS_PER_DAY
