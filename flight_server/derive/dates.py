"""Julian dates as text, and time differences."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.derive.inputs import Numbers

__all__ = ["iso_text", "iso_text_of_tai", "lapse"]

TEMPLATE = b"0000-00-00 00:00:00.000"
# the position of each part in the template, and its number of digits
YEAR, MONTH, DAY = (0, 4), (5, 2), (8, 2)
HOUR, MINUTE, SECOND, FRACTION = (11, 2), (14, 2), (17, 2), (20, 3)
MILLISECONDS = 3
MJD_ZERO = 2_400_000.5
FOUR_DIGITS = (1000, 9999)


def iso_text(jd: Numbers) -> pa.Array:
    """Return Julian dates in UTC as ISO text with milliseconds, null for NaN and for numbers too far off to be dates.

    The text equals that of astropy's `Time(jd, format="jd").iso`, including leap seconds: the nearest millisecond to
    the exact date of the float64.

    Examples
    --------
    >>> iso_text(np.array([2459092.8803819, np.nan])).to_pylist()
    ['2020-08-31 09:07:44.996', None]
    """
    unknown = ~np.isfinite(jd)
    jd = np.where(unknown, 0.0, jd)
    whole = np.round(jd)
    return _iso_text(whole, jd - whole, unknown)


def iso_text_of_tai(mjd: Numbers) -> pa.Array:
    """Return MJD in TAI as ISO text in UTC with milliseconds; see `iso_text`.

    >>> iso_text_of_tai(np.array([61109.0, np.nan])).to_pylist()
    ['2026-03-09 23:59:23.000', None]
    """
    import erfa

    unknown = ~np.isfinite(mjd)
    mjd = np.where(unknown, 0.0, mjd)
    whole = np.round(mjd)
    with np.errstate(invalid="ignore"):
        day, fraction, status = erfa.ufunc.taiutc(MJD_ZERO + whole, mjd - whole)
    return _iso_text(day, fraction, unknown | (status < 0))


def _iso_text(whole: Numbers, fraction_of_day: Numbers, unknown: npt.NDArray[np.bool_]) -> pa.Array:
    """Return Julian dates in UTC, in two parts, as text; null where they are unknown."""
    import erfa

    with np.errstate(invalid="ignore"):
        # both parts are exact; the ufunc reports dubious years (before 1960, far future) by a status, not a warning
        year, month, day, clock, status = erfa.ufunc.d2dtf(b"UTC", MILLISECONDS, whole, fraction_of_day)
    unknown = unknown | (status < 0)  # one row that is wrong must not end an answer over a whole table
    hour, minute, second, fraction = (clock[part] for part in "hmsf")
    parts = {YEAR: year, MONTH: month, DAY: day, HOUR: hour, MINUTE: minute, SECOND: second, FRACTION: fraction}
    texts = _filled(parts, len(whole))
    array = pa.array(texts, mask=unknown).cast(pa.string())
    odd = ~unknown & ((year < FOUR_DIGITS[0]) | (year > FOUR_DIGITS[1]))
    if odd.any():  # no exposure is that old, but the text must be correct
        rest = pa.array(texts[odd]).cast(pa.string()).to_pylist()
        whole_texts = [f"{int(y)}{text[4:]}" for y, text in zip(year[odd], rest, strict=True)]
        array = pc.replace_with_mask(array, pa.array(odd), pa.array(whole_texts, pa.string()))
    return array


def lapse(last: Numbers, first: Numbers) -> Numbers:
    """Return the days from the first date to the last, NaN where one of them is.

    >>> lapse(np.array([2459092.5]), np.array([2459014.25]))
    array([78.25])
    """
    return last - first


def _filled(parts: dict[tuple[int, int], npt.NDArray[np.int32]], length: int) -> npt.NDArray[np.bytes_]:
    letters = np.tile(np.frombuffer(TEMPLATE, np.uint8), (length, 1))
    for (place, digits), values in parts.items():
        rest = np.abs(values)
        for digit in reversed(range(digits)):
            rest, last = np.divmod(rest, 10)
            letters[:, place + digit] += last.astype(np.uint8)
    return letters.view(f"S{len(TEMPLATE)}").ravel()
