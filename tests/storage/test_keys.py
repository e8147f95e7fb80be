import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.protocol.errors import BadValue
from flight_server.storage.keys import key_expression, prefix_ranges
from flight_server.storage.scans import Span

KEY = key_expression("{i:objectId}_{i:jd}")


@given(st.lists(st.floats(2.4e6, 2.5e6), min_size=1))
def test_julian_dates_stand_in_keys_as_repr_writes_them(dates):
    keys = KEY.build({"i:objectId": pa.array(["ZTF"] * len(dates)), "i:jd": pa.array(dates)})
    assert keys.to_pylist() == [f"ZTF_{date!r}" for date in dates]


@pytest.mark.parametrize(
    ("expression", "cells", "keys"),
    [
        ("{a}", {"a": pa.array(["x", "é"])}, ["x", "é"]),
        ("{a}_{b}", {"a": pa.array([7, -8], pa.int64()), "b": pa.array([1.0, 0.5])}, ["7_1.0", "-8_0.5"]),
        ("{b}__{a}", {"a": pa.array(["x_y"]), "b": pa.array([1], pa.int32()), "c": pa.array([None])}, ["1__x_y"]),
        ("{a}_{b}", {"a": pa.array([], pa.string()), "b": pa.array([], pa.float64())}, []),
    ],
)
def test_keys_are_made_of_columns_and_literals(expression, cells, keys):
    assert key_expression(expression).build(cells).to_pylist() == keys


@pytest.mark.parametrize(
    ("ids", "dates", "column", "row"),
    [
        (["a", None], [1.0, 2.0], "i:objectId", 1),
        (["a", "b", "c"], [1.0, 2.0, None], "i:jd", 2),
        (["", "b"], [1.0, 2.0], "i:objectId", 0),
        (["a", "b_c"], [1.0, 2.0], "i:objectId", 1),
        (["a", "b\0"], [1.0, 2.0], "i:objectId", 1),
        (["a", "b" * 1025], [1.0, 2.0], "i:objectId", 1),
        (["a", "é" * 600], [1.0, 2.0], "i:objectId", 1),
    ],
    ids=["null", "null time", "empty", "separator", "nul", "long", "long in bytes"],
)
def test_a_part_that_no_key_can_hold_is_named(ids, dates, column, row):
    with pytest.raises(BadValue) as caught:
        KEY.build({"i:objectId": pa.array(ids), "i:jd": pa.array(dates)})
    assert caught.value.field == column
    assert f"column {column}, row {row}:" in caught.value.message


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(BadValue) as caught:
        KEY.build({"i:objectId": pa.array(["a"])})
    assert caught.value.field == "i:jd"


@pytest.mark.parametrize("text", ["", "i:jd", "{upper(i:jd)}", "{lower()}"])
def test_a_key_is_made_of_columns(text):
    with pytest.raises(ValueError, match="not a key expression"):
        key_expression(text)


def test_a_prefix_is_of_the_first_column():
    assert KEY.prefixes("i:objectId", ["é"]) == [b"\xc3\xa9_"]
    assert key_expression("{r:diaObjectId}_{r:mjd}").prefixes("r:diaObjectId", [17]) == [b"17_"]
    with pytest.raises(ValueError, match="i:jd"):
        KEY.prefixes("i:jd", [1])


TEXTS = st.text("aZ_`~\x7fé\U0010ffff", min_size=1, max_size=4).map(str.encode)


@given(st.lists(TEXTS, unique=True), st.lists(TEXTS, min_size=1, max_size=5))
def test_a_range_holds_exactly_the_keys_with_its_prefix(keys, prefixes):
    sorted_keys = np.array(sorted(keys), dtype="S16")
    starts, stops = prefix_ranges(prefixes)
    lows, highs = np.searchsorted(sorted_keys, starts), np.searchsorted(sorted_keys, stops)
    for prefix, low, high in zip(prefixes, lows, highs, strict=True):
        assert sorted_keys[low:high].tolist() == [key for key in sorted(keys) if key.startswith(prefix)]


def test_the_keys_of_an_object_are_not_those_of_one_whose_name_it_begins():
    ids, dates = ["ZTF2", "ZTF20", "ZTF20", "ZTF200"], [1.5, 2.5, 0.5, 1.0]
    keys = np.array(sorted(key.encode() for key in KEY.build({"i:objectId": pa.array(ids), "i:jd": pa.array(dates)}).to_pylist()))
    (low,), (high,) = (np.searchsorted(keys, side) for side in prefix_ranges(KEY.prefixes("i:objectId", ["ZTF20"])))
    assert keys[low:high].tolist() == [b"ZTF20_0.5", b"ZTF20_2.5"]


def test_keys_have_text_in_front_and_parts_that_are_made():
    cells = {"a": pa.array(["Ab", "É"]), "b": pa.array([None, "C_d"]), "n": pa.array([3, 4])}
    assert key_expression("x_{a}").build(cells).to_pylist() == ["x_Ab", "x_É"]
    made = key_expression("{lower(a)}@{n}_{lower(b)}")
    assert made.inputs == ("a", "n", "b")
    assert made.build(cells).to_pylist() == ["ab@3_", "é@4_c_d"]
    with pytest.raises(BadValue, match=r"column lower\(b\), row 0: None is null"):
        key_expression("{lower(b)}_{n}").build(cells)


def test_parts_may_hold_what_separates_them_where_no_object_is_asked_for():
    key = key_expression("{label}_{jd}_{id}")
    cells = {"label": pa.array(["AGN_Candidate"]), "jd": pa.array([2459000.5]), "id": pa.array(["ZTF1"])}
    assert key.build(cells, apart=False).to_pylist() == ["AGN_Candidate_2459000.5_ZTF1"]
    with pytest.raises(BadValue, match="the separator in row keys"):
        key.build(cells)


@pytest.mark.parametrize(
    ("expression", "value", "key", "other"),
    [("{a}", "ZTF1", b"ZTF1", b"ZTF12"), ("cand_{a}", 7, b"cand_7", b"cand_71"), ("x{a}_{b}", 7, b"x7_1", b"x71_1")],
)
def test_the_prefix_of_an_object_is_of_no_other_object(expression, value, key, other):
    keys = key_expression(expression)
    starts, stops = prefix_ranges(keys.prefixes("a", [value]))
    inside = [starts.tolist()[0] <= found < stops.tolist()[0] for found in (key, other)]
    assert inside == [True, False]
    assert keys.first_part(key) in {key, b"x7_"}


def test_spans_begin_behind_the_text_in_front():
    key = key_expression("ztf_{night}")
    assert key.span(Span(prefix="202008"), None) == (b"ztf_202008", b"ztf_202009")
    pixels = key_expression("{healpix128(ra,dec)}_{jd}_{id}")
    assert pixels.span(Span(values=(75464,)), "jd") == (b"75464_", b"75464`")


def test_a_place_that_there_is_not_has_no_pixel():
    cells = {"ra": pa.array([0.0, float("inf")]), "dec": pa.array([90.0, 0.0])}
    with pytest.raises(BadValue, match=r"healpix128\(ra,dec\), row 1: None is null"):
        key_expression("{healpix128(ra,dec)}").build(cells)
