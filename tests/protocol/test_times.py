import json
import math
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.protocol.errors import BadValue, NotSupported
from flight_server.protocol.ticket_json import parse_ticket
from flight_server.protocol.times import check_order, read_milliseconds, read_night, read_time, to_table_time

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = datetime(1990, 1, 2), datetime(2100, 12, 30)
FIRST_JD, END_JD = 2_447_892.5, 2_488_434.5
MOMENTS = st.datetimes(FIRST, LAST)


def exact_jd(moment):
    return Fraction(4881175, 2) + Fraction((moment - EPOCH) // timedelta(microseconds=1), 86_400_000_000)


def jd_of(value):
    return to_table_time("start", value, "jd", "utc")


@given(
    MOMENTS,
    st.none() | st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    st.sampled_from(["T", " ", "t"]),
    st.sampled_from([str, lambda text: f" {text}\n"]),
)
def test_iso_text_is_the_julian_date_to_the_last_digit(moment, zone, separator, padded):
    text = moment.replace(tzinfo=zone).isoformat(separator)
    exact = exact_jd(moment.replace(tzinfo=zone or UTC))
    jd = jd_of(padded(text))
    assert abs(Fraction(jd) - exact) <= Fraction(math.ulp(jd))


@pytest.mark.parametrize(
    ("value", "jd"),
    [
        ("2000-01-01T12:00:00", 2451545.0),
        ("2000-01-01T12:00:00Z", 2451545.0),
        ("2000-01-01t12:00z", 2451545.0),
        ("2000-01-01 12", 2451545.0),
        ("2000-01-01T14:00:00+02:00", 2451545.0),
        ("2000-01-01T14:00:00+0200", 2451545.0),
        ("20000101T120000", 2451545.0),
        ("2000-01-01T12:00:00.0000001239", 2451545.0),
        ("2000-01-01T12:00:00,5", 2451545.0 + 0.5 / 86400),
        ("2000-01-01", 2451544.5),
        ("20000101", 2451544.5),
        (20000101, 2451544.5),
        (20000101.0, 2451544.5),
        (2451545.0, 2451545.0),
        ("2451545", 2451545.0),
        (" 2451545.25", 2451545.25),
        ("2.45154525e6", 2451545.25),
        (51544.5, 2451545.0),
        ("51544.5", 2451545.0),
        (946728000000, 2451545.0),
        ("946728000000", 2451545.0),
        (FIRST_JD, FIRST_JD),
        ("1990-01-01", FIRST_JD),
        (47892, FIRST_JD),
        (19900101, FIRST_JD),
        (631_152_000_000, FIRST_JD),
        (math.nextafter(END_JD, 0), math.nextafter(END_JD, 0)),
        ("2100-12-31T12:00", END_JD - 0.5),
        (88433.5, END_JD - 0.5),
    ],
)
def test_a_moment_in_a_table_of_julian_dates(value, jd):
    assert jd_of(value) == jd


@given(st.floats(FIRST_JD, END_JD, exclude_max=True), st.sampled_from(["utc", "tai", None]))
def test_a_julian_date_stays_as_it_is(value, scale):
    assert to_table_time("stop", value, "jd", scale) == value == to_table_time("stop", repr(value), "jd", scale)


@given(st.floats(47_892, 88_434, exclude_max=True))
def test_a_modified_julian_date_in_a_table_of_them_stays_as_it_is(value):
    assert to_table_time("start", value, "mjd", "tai") == value


def test_a_julian_date_in_a_table_of_modified_ones():
    assert to_table_time("start", 2460000.75, "mjd", "tai") == 60000.25


TEXTS = [
    *("yesterday", "now", "2020", "2020-08", "202008", "2020-8-1", "2020/08/31", "31/08/2020", "31.08.2020", "Aug 31 2020"),
    *("2020-13-01", "2020-02-30", "20200230", "2020-W35-1", "2020-244", "J2000", "JD2459000.5", "59000 MJD", "2020.66"),
    *("2020-08-31T25:00", "2020-08-31T9:00", "2020-08-31+02:00", "2020-08-31x09:00", "2020-08-31T09:00 UTC", "2020083109"),
    *("202008310912", "20200831091200", "2016-12-31T23:59:60", "2020-08-31T", "2020-08-31Z", "2020-08-31 09:00 +02:00"),
    *("nan", "NaN", "inf", "-inf", "1e308", "1e9999", "1_0", "5_9000", "0x10", "true", "\0", "é" * 5000, "9" * 5000, "-59000"),
    *(
        "\u0662020-08-31",
        "\u0665\u0669000",
        "1989-12-31T23:59:59",
        "2101-01-01",
        "1990-01-01T00:00+02:00",
        "2100-12-31T23:00-02:00",
    ),
    *("0001-01-01T00:00+23:00", "9999-12-31T23:00-23:00", "", "  "),
]
NUMBERS = [
    *(0, 1, -1, 2020, 2020.66, 9000.5, 202008, 200831, 20200230, 20200831.5, 2020083109, 1598864864, 1598864864996123, -59000),
    *(
        math.nextafter(FIRST_JD, 0),
        END_JD,
        math.nextafter(47892, 0),
        88434,
        19891231,
        21010101,
        631_151_999_999,
        4_133_980_800_000,
    ),
    *(2_400_000, 1e308, -1e308, 10**400, math.nan, math.inf, -math.inf),
]


@pytest.mark.parametrize("value", TEXTS + NUMBERS, ids=lambda value: str(value)[:20])
def test_what_is_no_time_is_refused_by_field_and_value_with_all_forms(value):
    for read in (read_time, read_milliseconds, lambda name, value: to_table_time(name, value, "jd", "utc")):
        with pytest.raises(BadValue) as caught:
            read("stop", value)
        assert caught.value.field == "stop"
        assert caught.value.value[:79] == str(value)[:79]
        assert len(caught.value.message) < 299
        for form in ("stop must be", "2020-08-31T", "20200831", "JD", "MJD", "milliseconds", "1990 to 2100"):
            assert form in caught.value.message


@pytest.mark.parametrize("value", TEXTS + NUMBERS + [True, None, [], {}, [59000]], ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("field", ["start", "stop", "as_of"])
def test_a_ticket_refuses_the_same_with_the_same_forms(field, value):
    with pytest.raises(BadValue, match=f"{field} must be a time from 1990 to 2100: 2020-08-31, .* or milliseconds") as caught:
        parse_ticket(json.dumps({"table": "ztf", "all": True, field: value}).encode())
    assert caught.value.field == field


@pytest.mark.parametrize("scale", ["tt", None])
@pytest.mark.parametrize("date", ["2020-08-31", 20200831, 1598864864996])
def test_dates_are_not_taken_for_another_scale(scale, date):
    with pytest.raises(NotSupported) as caught:
        to_table_time("start", date, "mjd", scale)
    assert caught.value.field == "start"


VALUES = st.text() | st.floats() | st.integers() | MOMENTS.map(str) | st.floats(0, 1e13) | st.floats(0, 1e13).map(repr)


@given(VALUES)
def test_any_value_is_a_time_from_1990_to_2100_or_refused(value):
    try:
        jd = jd_of(value)
    except BadValue as error:
        assert error.field == "start"
    else:
        assert FIRST_JD <= jd < END_JD
        assert jd_of(read_time("start", value)) == jd
        milliseconds = read_milliseconds("as_of", value)
        assert abs(milliseconds - (jd - 2_440_587.5) * 86_400_000) < 1.1  # a Julian date is exact to 0.05 ms
        assert read_milliseconds("as_of", milliseconds) == milliseconds


@given(st.integers(631_152_000_000, 4_133_980_799_999))
def test_milliseconds_stay_as_they_are(value):
    moment = EPOCH + timedelta(milliseconds=value)
    assert read_milliseconds("as_of", value) == value == read_milliseconds("as_of", moment.isoformat())
    assert read_milliseconds("as_of", float(exact_jd(moment))) == value


@pytest.mark.parametrize(
    ("value", "night"),
    [
        *(("20200831", "20200831"), ("2020-08-31", "20200831"), (20200831, "20200831"), (" 20200831 ", "20200831")),
        *(("202008", "202008"), ("2020-08", "202008"), (202008, "202008"), ("2020", "2020"), ("2", "2"), ("19", "19")),
        *(
            ("20201", "20201"),
            ("2020083", "2020083"),
            ("20200229", "20200229"),
            ("21001231", "21001231"),
            ("19900101", "19900101"),
        ),
    ],
)
def test_a_night_is_a_date_or_its_beginning(value, night):
    assert read_night("night", value) == night
    assert parse_ticket(json.dumps({"table": "statistics_class", "night": value}).encode()).night == night


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "3",
            "18",
            "1989",
            "2101",
            "202013",
            "20200230",
            "20210229",
            "2459000",
            "2020-8",
            "2020-08-31T09",
            "202-008",
            "2020-",
        ),
        *(
            "2020-0831",
            "\uff12020",
            "last",
            "-2020",
            "202008311",
            -2020,
            0,
            10**30,
            2020.5,
            20200831.5,
            True,
            None,
            ["2020"],
            "\0",
        ),
    ],
)
def test_what_is_no_night_is_refused_with_the_forms(value):
    with pytest.raises(BadValue, match="night must be a date from 1990 to 2100, 20200831 or 2020-08-31") as caught:
        parse_ticket(json.dumps({"table": "statistics_class", "night": value}).encode())
    assert caught.value.field == "night"


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        ("2020-08-31", "2020-08-30"),
        (59001, 2459000.5),
        ("2020-08-31", 59000),
        (1598864864996, "20200831"),
        ("2020-08-31T01:00", "2020-08-31T02:00+02:00"),
    ],
)
def test_a_start_after_the_stop_is_refused(start, stop):
    with pytest.raises(BadValue, match=r"^start .* is after stop ") as caught:
        parse_ticket(json.dumps({"table": "ztf", "all": True, "start": start, "stop": stop}).encode())
    assert caught.value.field == "start"
    check_order(stop, start)
    check_order(start, start)
