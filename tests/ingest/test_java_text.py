import math
from decimal import Decimal

import pyarrow as pa
import pytest
from depth import more_examples
from hypothesis import given
from hypothesis import strategies as st

from flight_server.ingest.java_text import double_text, list_text

NAN, INFINITY = float("nan"), float("inf")


def java(value):
    """Write a number as Double.toString does, from the digits of its repr."""
    if not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    point = len(text) + exponent  # value = 0.text * 10**point
    text = text.rstrip("0") or "0"
    minus = "-" if sign else ""
    if value == 0:
        return minus + "0.0"
    if not 1e-3 <= abs(value) < 1e7:
        return f"{minus}{text[0]}.{text[1:] or '0'}E{point - 1}"
    if point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    whole = text[:point].ljust(point, "0")
    return f"{minus}{whole}.{text[point:] or '0'}"


def short(digits, exponent):
    return float(f"{digits}e{exponent}")


SHORT = st.builds(short, st.integers(-(10**6), 10**6), st.integers(-30, 30)) | st.builds(
    short, st.integers(-999, 999), st.integers(-300, 300)
)
# Java writes the very smallest subnormals with two digits where repr has one
DOUBLES = (SHORT | st.floats() | st.integers(-(10**23), 10**23).map(float)).filter(lambda v: v == 0 or not abs(v) < 1e-320)


@more_examples(5)
@given(st.lists(st.none() | DOUBLES, max_size=20))
def test_doubles_are_written_as_java_writes_them(values):
    expected = [None if value is None else java(value) for value in values]
    assert double_text(pa.array(values, pa.float64())).to_pylist() == expected


@pytest.mark.parametrize("exponent", range(-25, 26))
@pytest.mark.parametrize("digits", ["1", "9", "1.5", "-1.25", "1.0000001", "9.999999999999999", "1.2345678901234567"])
def test_every_power_of_ten_is_written_as_java_writes_it(digits, exponent):
    value = float(f"{digits}e{exponent}")
    assert double_text(pa.array([value])).to_pylist() == [java(value)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1e-3, "0.001"),
        (9.99e-4, "9.99E-4"),
        (1e7, "1.0E7"),
        (9999999.0, "9999999.0"),
        (9999999.999999998, "9999999.999999998"),
        (10000000.5, "1.00000005E7"),
        (1.5e21, "1.5E21"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (2.2250738585072014e-308, "2.2250738585072014E-308"),
        (NAN, "NaN"),
        (-INFINITY, "-Infinity"),
    ],
)
def test_the_examples_of_javas_documentation(value, text):
    assert double_text(pa.array([value])).to_pylist() == [text]
    assert java(value) == text


def test_lists_are_written_with_null_and_nan():
    parts = [pa.array([1.0, None, 5.0]), pa.array([None, NAN, 5.0]), pa.nulls(3, pa.float64()), pa.array([12345678.9, -0.5, 0.0])]
    texts = list_text(parts, pa.array([True, True, False]))
    assert texts.to_pylist() == ["[1.0, null, null, 1.23456789E7]", "[null, NaN, null, -0.5]", None]
