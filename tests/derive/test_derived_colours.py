import numpy as np
import pandas as pd
import pyarrow as pa
from derived_reference import COLOURS, RATES, colours, frame_of, rates
from hypothesis import given
from hypothesis import strategies as st

from flight_server.derive import derive, load_derived

DERIVED = load_derived("ztf")
START = 2459092.0

# a grid on which points coincide, lie equally far from two others, and lie just inside and outside of 0.3 days
TIMES = st.integers(0, 30).map(lambda step: START + step / 8) | st.sampled_from(
    [START, START + 0.3, np.nextafter(START + 0.3, START), np.nextafter(START + 0.3, START + 1), START + 0.6, START + 40.0]
)
MAGNITUDES = st.floats(14.0, 21.0, width=32)
ERRORS = st.floats(0.0, 0.5, width=32)


def points(times, nullable):
    missing = st.none() if nullable else st.nothing()
    filters = st.sampled_from([1, 1, 1, 2, 2, 2, 3])
    return st.tuples(st.sampled_from("abc") | missing, times | missing, filters | missing, MAGNITUDES | missing, ERRORS | missing)


def table_of(rows):
    names = ["i:objectId", "i:jd", "i:fid", "i:magpsf", "i:sigmapsf"]
    types = [pa.string(), pa.float64(), pa.int32(), pa.float32(), pa.float32()]
    columns = list(zip(*rows, strict=True)) or [()] * 5
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names=names)


def check(rows):
    table = table_of(rows)
    found = derive(table, [*RATES, *COLOURS], DERIVED)
    frame = frame_of(table)
    expected = pd.concat([rates(frame), colours(frame)], axis=1)
    for name, array in found.items():
        np.testing.assert_array_equal(array.to_numpy(zero_copy_only=False), expected[name].to_numpy(), err_msg=name)
        assert not np.isnan(array.drop_null().to_numpy()).any(), name


@given(st.lists(points(TIMES, nullable=False), max_size=40))
def test_rates_and_colours_are_those_of_pandas_object_by_object(rows):
    check(rows)


@given(st.lists(points(TIMES, nullable=True), max_size=40))
def test_points_with_gaps_are_treated_as_pandas_treats_them(rows):
    check(rows)


@given(st.lists(points(st.floats(START, START + 3), nullable=False), max_size=60))
def test_rates_and_colours_at_any_times(rows):
    check(rows)


@given(st.lists(points(TIMES, nullable=True), max_size=30, unique_by=lambda row: row[:2]), st.randoms())
def test_the_order_of_rows_does_not_matter(rows, random):
    order = random.sample(range(len(rows)), len(rows))
    found = derive(table_of(rows), [*RATES, *COLOURS], DERIVED)
    shuffled = derive(table_of([rows[place] for place in order]), [*RATES, *COLOURS], DERIVED)
    for name, array in found.items():
        assert array.take(pa.array(order, pa.int64())).equals(shuffled[name]), name


@given(st.lists(points(TIMES, nullable=True), max_size=30))
def test_objects_do_not_touch_each_other(rows):
    together = derive(table_of(rows), [*RATES, *COLOURS], DERIVED)
    for wanted in "abc":
        places = [place for place, row in enumerate(rows) if row[0] == wanted]
        alone = derive(table_of([rows[place] for place in places]), [*RATES, *COLOURS], DERIVED)
        for name, array in together.items():
            assert array.take(pa.array(places, pa.int64())).equals(alone[name]), name


def test_of_two_r_points_equally_near_the_earlier_one_makes_the_colour():
    rows = [("a", START + 1, 1, 18.0, 0.1), ("a", START + 1.25, 2, 17.0, 0.1), ("a", START + 0.75, 2, 16.0, 0.1)]
    assert derive(table_of(rows), ["v:g-r"], DERIVED)["v:g-r"].to_pylist() == [2.0, 2.0, 2.0]


def test_a_point_without_a_partner_takes_the_colour_next_to_it():
    # the last g point is too far from the r point, but near the first, which has a colour
    rows = [("a", START + 0.5, 1, 18.0, 0.1), ("a", START + 0.25, 2, 17.0, 0.1), ("a", START + 0.75, 1, 12.0, 0.1)]
    assert derive(table_of(rows), ["v:g-r"], DERIVED)["v:g-r"].to_pylist() == [1.0, 1.0, 1.0]


def test_two_points_at_one_time_have_an_infinite_rate_and_none_if_they_are_equal():
    rows = [("a", START, 1, 18.0, 0.1), ("a", START, 1, 19.0, 0.1), ("b", START, 2, 18.0, 0.0), ("b", START, 2, 18.0, 0.0)]
    found = derive(table_of(rows), RATES, DERIVED)
    assert found["v:rate"].to_pylist() == [None, float("inf"), None, None]
    assert found["v:sigma(rate)"].to_pylist() == [None, float("inf"), None, None]
