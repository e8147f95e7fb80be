import math
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.protocol.errors import BadValue, NotSupported
from flight_server.protocol.times import to_table_time

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def exact_jd(moment):
    return Fraction(4881175, 2) + Fraction((moment - EPOCH) // timedelta(microseconds=1), 86_400_000_000)


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
    st.none() | st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    st.sampled_from(["T", " "]),
)
def test_iso_text_is_the_julian_date_to_the_last_digit(moment, zone, separator):
    text = moment.replace(tzinfo=zone).isoformat(separator)
    exact = exact_jd(moment.replace(tzinfo=zone or UTC))
    jd = to_table_time("start", text, "jd", "utc")
    assert abs(Fraction(jd) - exact) <= Fraction(math.ulp(jd))


@pytest.mark.parametrize(
    ("value", "jd"),
    [
        ("2000-01-01T12:00:00", 2451545.0),
        ("2000-01-01T12:00:00Z", 2451545.0),
        ("2000-01-01T14:00:00+02:00", 2451545.0),
        ("2000-01-01", 2451544.5),
        (2451545.0, 2451545.0),
        (2_400_000.0, 2_400_000.0),
        (2_400_000, 2_400_000.0),
        (51544.5, 2451545.0),
        (0.0, 2_400_000.5),
        (2_399_999.5, 4_800_000.0),
    ],
)
def test_a_moment_in_a_table_of_julian_dates(value, jd):
    assert to_table_time("start", value, "jd", "utc") == jd


@given(st.floats(2_400_000, 2_500_000), st.sampled_from(["utc", "tai", None]))
def test_a_julian_date_stays_as_it_is(value, scale):
    assert to_table_time("stop", value, "jd", scale) == value


@given(st.floats(40_000, 80_000))
def test_a_modified_julian_date_in_a_table_of_them_stays_as_it_is(value):
    assert to_table_time("start", value, "mjd", "tai") == value


def test_a_julian_date_in_a_table_of_modified_ones():
    assert to_table_time("start", 2460000.75, "mjd", "tai") == 60000.25


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2020-13-01",
        "2020-02-30",
        "59000",
        "2020-08-31T25:00",
        "\0",
        "é" * 5000,
        "0001-01-01T00:00+23:00",
        "9999-12-31T23:00-23:00",
    ],
)
def test_text_that_is_no_date_is_refused_by_field_and_value(text):
    with pytest.raises(BadValue) as caught:
        to_table_time("stop", text, "jd", "utc")
    assert caught.value.field == "stop"
    assert caught.value.value[:79] == text[:79]
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("scale", ["tai", None])
def test_text_is_not_taken_for_another_scale(scale):
    with pytest.raises(NotSupported) as caught:
        to_table_time("start", "2020-08-31", "mjd", scale)
    assert caught.value.field == "start"


@given(st.text())
def test_any_text_is_a_moment_or_refused(text):
    try:
        assert math.isfinite(to_table_time("start", text, "jd", "utc"))
    except BadValue as error:
        assert error.field == "start"
