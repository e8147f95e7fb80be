import warnings

import erfa
import numpy as np
import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from flight_server.derive.dates import iso_text, lapse

YEAR_1, YEAR_10000 = 1_721_425.5, 5_373_484.5


def of_astropy(jd):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", erfa.ErfaWarning)  # years before 1960 and far ahead
        return Time(jd, format="jd").iso.tolist()


@pytest.mark.parametrize(("first", "last"), [(2_451_545, 2_470_000), (YEAR_1, YEAR_10000)], ids=["near", "far"])
def test_random_dates_are_written_as_astropy_writes_them(first, last):
    jd = np.random.default_rng(8).uniform(first, last, 100_000)
    assert iso_text(jd).to_pylist() == of_astropy(jd)


@given(st.lists(st.floats(2_400_000, 2_500_000) | st.floats(YEAR_1 + 10, YEAR_10000 - 10), min_size=1))
def test_any_date_is_written_as_astropy_writes_it(jd):
    assert iso_text(np.array(jd)).to_pylist() == of_astropy(jd)


def test_dates_beside_a_round_one_are_rounded_as_astropy_rounds_them():
    days = np.array([2459092.5, 2459093.0, 2459215.5, 2457388.5, 2415020.5])[:, None]
    jd = (days + np.linspace(-2e-8, 2e-8, 401)).ravel()
    assert iso_text(jd).to_pylist() == of_astropy(jd)


@pytest.mark.parametrize("day", ["2016-12-31", "2015-06-30", "1972-06-30", "2017-01-01"])
def test_the_days_of_leap_seconds_are_as_long_as_in_astropy(day):
    jd = Time(f"{day}T00:00:00").jd + np.append(np.linspace(0, 1, 500), np.linspace(0.9999, 1.00001, 2000))
    texts = iso_text(jd).to_pylist()
    assert texts == of_astropy(jd)
    assert any(text[17:19] == "60" for text in texts) == (day != "2017-01-01")


@pytest.mark.parametrize("jd", [YEAR_1 - 1, YEAR_10000, 1_900_000.25, 0.0, -30_000.5])
def test_years_of_other_than_four_digits_are_written_as_astropy_writes_them(jd):
    among = np.array([2459092.5, jd, np.nan])
    assert iso_text(among).to_pylist() == [*of_astropy(among[:2]), None]


@pytest.mark.parametrize("jd", [float("inf"), float("-inf"), 1e12, -1e12, 1e300])
def test_what_is_no_date_has_no_text(jd):
    assert iso_text(np.array([2459092.5, jd])).to_pylist() == ["2020-08-31 00:00:00.000", None]


def test_no_dates_give_no_texts():
    assert iso_text(np.array([])).to_pylist() == []
    assert iso_text(np.array([np.nan])).to_pylist() == [None]


def test_a_lapse_is_unknown_where_one_of_its_dates_is():
    found = lapse(np.array([2459092.8803819, np.nan, 1.0]), np.array([2459024.8876620, 1.0, np.nan]))
    np.testing.assert_array_equal(found, [2459092.8803819 - 2459024.8876620, np.nan, np.nan])
