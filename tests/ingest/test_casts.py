from collections import Counter
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.catalog.columns import TYPES
from flight_server.catalog.widening import widest
from flight_server.ingest.casts import cast_exactly, cast_open, stored_type
from flight_server.protocol.errors import BadValue

INTEGERS = {
    kind(): (bits, signed)
    for bits in (8, 16, 32, 64)
    for kind, signed in ((getattr(pa, f"int{bits}"), True), (getattr(pa, f"uint{bits}"), False))
}
NUMBERS = [pa.int32(), pa.int64(), pa.float32(), pa.float64()]
NAN, INFINITY = float("nan"), float("inf")


def span(kind):
    bits, signed = INTEGERS[kind]
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def values_of(kind):
    if kind in INTEGERS:
        low, high = span(kind)
        edges = [
            n + d
            for n in (0, 2**24, 2**31, 2**32, 2**53, 2**63, 2**64 - 2**31, 2**64)
            for s in (1, -1)
            for d in (-1, 0, 1)
            for n in (s * n,)
        ]
        return st.integers(low, high) | st.sampled_from([n for n in edges if low <= n <= high])
    width = 32 if kind == pa.float32() else 64
    whole = st.integers(-(2**24), 2**24).map(float) | st.sampled_from([2.0**31, -(2.0**31), 2.0**63, -(2.0**63), 2.0**62, -0.0])
    return st.floats(width=width) | whole


def fitted(value, kind):
    """Return the cast number, or raise OverflowError: the oracle."""
    if kind in INTEGERS:
        low, high = span(kind)
        if isinstance(value, float) and np.isnan(value):
            return None
        if isinstance(value, float) and not value.is_integer():  # infinities too
            raise OverflowError
        if not low <= int(value) <= high:
            raise OverflowError
        return int(value)
    if isinstance(value, int):
        if Fraction(float(value)) != value or (kind == pa.float32() and Fraction(float(np.float32(value))) != value):
            raise OverflowError
        return float(value)
    if kind == pa.float32():
        with np.errstate(over="ignore"):
            rounded = float(np.float32(value))
        if np.isinf(rounded) and not np.isinf(value):
            raise OverflowError
        return rounded
    return value


@pytest.mark.parametrize("source", [*INTEGERS, pa.float32(), pa.float64()], ids=str)
@pytest.mark.parametrize("kind", NUMBERS, ids=str)
@given(data=st.data())
def test_numbers_are_cast_exactly_or_refused_by_column_and_row(source, kind, data):
    values = data.draw(st.lists(st.none() | values_of(source), max_size=4))
    expected, wrong = [], None
    for row, value in enumerate(values):
        try:
            expected.append(None if value is None else fitted(value, kind))
        except OverflowError:
            wrong = row
            break
    array = pa.array([None, *values], source).slice(1)
    if wrong is None:
        cast = cast_exactly(array, kind, "i:fid")
        assert cast.type == kind
        assert repr(cast.to_pylist()) == repr(expected)  # by repr: NaN is itself, -0.0 is not 0.0
    else:
        with pytest.raises(BadValue) as caught:
            cast_exactly(array, kind, "i:fid")
        assert caught.value.field == "i:fid"
        assert caught.value.message.startswith(f"column i:fid, row {wrong}: ")
        assert caught.value.value == str(values[wrong])[:80]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pa.array(["12", None, "-3"]), pa.int32(), [12, None, -3]),
        (pa.array(["12"], pa.large_string()), pa.int64(), [12]),
        (pa.array(["0.1", "nan"]), pa.float32(), [float(np.float32(0.1)), NAN]),
        (pa.array(["a", None], pa.large_string()), pa.string(), ["a", None]),
        (pa.array([b"\xc3\xa9", None]), pa.string(), ["é", None]),
        (pa.array(["é"]), pa.binary(), [b"\xc3\xa9"]),
        (pa.array([b"ab"], pa.binary(2)), pa.binary(), [b"ab"]),
        (pa.array([1, 0, None], pa.int64()), pa.bool_(), [True, False, None]),
        (pa.array([True, None]), pa.int32(), [1, None]),
        (pa.array([2**63 - 1]), pa.string(), ["9223372036854775807"]),
        (pa.array(["a", None, "b", "a"]).dictionary_encode(), pa.string(), ["a", None, "b", "a"]),
        (pa.array([1.0, None, 2.0]).dictionary_encode(), pa.int32(), [1, None, 2]),
        (
            pa.chunked_array([pa.array(["x"]).dictionary_encode(), pa.array(["y", "x"]).dictionary_encode()]),
            pa.string(),
            ["x", "y", "x"],
        ),
        (pa.chunked_array([[1], [], [2]], pa.int64()), pa.int32(), [1, 2]),
        (pa.nulls(2), pa.float32(), [None, None]),
        (pa.nulls(2, pa.float64()), pa.int32(), [None, None]),
        (pa.array([], pa.float64()), pa.string(), []),
        (pa.array([1.5, 2.0], pa.float16()), pa.float32(), [1.5, 2.0]),
        (pa.array([2.0], pa.float16()), pa.int32(), [2]),
        (pa.array([Decimal("2.0")]), pa.int32(), [2]),
        (pa.array([Decimal(2**53 + 1), None]), pa.int64(), [2**53 + 1, None]),
        (pa.array([Decimal("1.10"), None]), pa.string(), ["1.10", None]),
        (pa.array([Decimal("1.0"), Decimal("0.0")]), pa.bool_(), [True, False]),
        (pa.array([Decimal("18.4")]), pa.float32(), [float(np.float32(18.4))]),
        (pa.array([Decimal("18.40"), None]), pa.float64(), [18.4, None]),
        (pa.array([0], pa.timestamp("us", "UTC")), pa.string(), ["1970-01-01 00:00:00.000000Z"]),
    ],
    ids=lambda v: str(getattr(v, "type", v))[:40],
)
def test_values_are_cast(values, kind, expected):
    cast = cast_exactly(values, kind, "c")
    assert isinstance(cast, pa.Array)
    assert cast.type == kind
    assert repr(cast.to_pylist()) == repr(expected)


@pytest.mark.parametrize(
    ("values", "kind", "row"),
    [
        (pa.array(["1", None, "1.5"]), pa.int32(), 2),
        (pa.array(["1", ""]), pa.int32(), 1),
        (pa.array(["x"]), pa.float64(), 0),
        (pa.array(["1", str(2**31)]), pa.int32(), 1),
        (pa.array(["1", "1e39"]), pa.float32(), 1),
        (pa.array(["yes", "no"]), pa.bool_(), 0),
        (pa.array([b"a", b"\xff"]), pa.string(), 1),
        (pa.array([1, 2], pa.int32()), pa.bool_(), 1),
        (pa.array([0.0, 0.5]), pa.bool_(), 1),
        (pa.array([INFINITY]), pa.bool_(), 0),
        (pa.array([1.0, None, 1.5]).dictionary_encode(), pa.int32(), 2),
        (pa.array([1.0, 1.5], pa.float16()), pa.int32(), 1),
        (pa.array([Decimal("1.0"), Decimal("1.5")]), pa.int32(), 1),
        (pa.array([2**40]), pa.int32(), 0),
        (pa.array([Decimal(1), Decimal(2**40)]), pa.int32(), 1),
        (pa.array([Decimal(1), Decimal(2)]), pa.bool_(), 1),
        (pa.array([Decimal(1), Decimal("1e39")]), pa.float32(), 1),
        (pa.array([1], pa.int32()), pa.binary(), 0),
        (pa.array([[1]]), pa.int32(), 0),
    ],
    ids=lambda v: str(getattr(v, "type", v))[:40],
)
def test_a_value_that_does_not_fit_is_named(values, kind, row):
    with pytest.raises(BadValue) as caught:
        cast_exactly(values, kind, "d:c")
    assert caught.value.field == "d:c"
    assert caught.value.message.startswith(f"column d:c, row {row}: ")


SOURCES = [
    *TYPES.values(),
    *INTEGERS,
    pa.float16(),
    pa.large_string(),
    pa.large_binary(),
    pa.binary(3),
    pa.string_view(),
    pa.null(),
]
SOURCES += [
    pa.date32(),
    pa.date64(),
    pa.time32("s"),
    pa.time64("us"),
    pa.duration("s"),
    pa.timestamp("ns"),
    pa.timestamp("ms", "UTC"),
]
SOURCES += [pa.decimal128(5, 1), pa.dictionary(pa.int8(), pa.string()), pa.list_(pa.int32()), pa.struct([("a", pa.int32())])]


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_any_column_is_cast_or_refused_and_nothing_else(source):
    wrong = set()
    for kind in TYPES.values():
        for values in (pa.array([], source), pa.nulls(2, source)):
            try:
                cast = cast_exactly(values, kind, "c")
                assert (cast.type, len(cast), cast.null_count) == (kind, len(values), len(values))
            except BadValue as error:
                assert error.field == "c"
            except Exception as error:
                wrong.add(f"{len(values)} rows to {kind}: {type(error).__name__}")
    assert wrong == set()


@pytest.mark.parametrize("source", [s for s in SOURCES if s != pa.null()], ids=str)
def test_a_column_that_the_catalog_does_not_know_can_be_cast_to_its_stored_type(source):
    kind = stored_type(source)
    if kind is None:
        assert pa.types.is_nested(source) or pa.types.is_decimal(source) or source == pa.string_view()
    else:
        assert kind in TYPES.values()
        assert cast_exactly(pa.nulls(1, source), kind, "c").type == kind


@pytest.mark.parametrize("first", TYPES.values(), ids=str)
@pytest.mark.parametrize("second", TYPES.values(), ids=str)
def test_the_widest_type_takes_both_in_any_order(first, second):
    kind = widest(first, second)
    assert kind == widest(second, first)
    assert widest(kind, first) == kind
    assert kind in TYPES.values()
    if first == second:
        assert kind == first


@pytest.mark.parametrize("third", TYPES.values(), ids=str)
def test_the_order_of_three_types_does_not_matter(third):
    for first in TYPES.values():
        for second in TYPES.values():
            assert widest(widest(first, second), third) == widest(first, widest(second, third))


@pytest.mark.parametrize(
    ("values", "kind", "lost"),
    [
        (pa.array([18.4, 0.1, -0.0, NAN, INFINITY, None, 1e30]), pa.float32(), 0),
        (pa.array([17.123456789, 18.4, None, 1e-50]), pa.float32(), 2),
        (pa.array([Decimal("18.4"), Decimal("0.10")]), pa.float64(), 0),
        (pa.array([Decimal("0.12345678901234567890"), None]), pa.float64(), 1),
        (pa.array([2**24]), pa.float32(), 0),
    ],
    ids=str,
)
def test_values_that_lose_decimal_digits_are_counted(values, kind, lost):
    rounded = Counter()
    cast_exactly(values, kind, "d:c", rounded)
    assert rounded["d:c"] == lost


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        (pa.array([None, "12"]), pa.int32(), "row 1: '12' is text, but the column holds numbers (int32): rename the column"),
        (pa.array([b"12"]), pa.float64(), "row 0: "),
        (pa.array([0], pa.timestamp("s")), pa.int64(), "is text"),
        (pa.array([2**53 + 1]), pa.float64(), "row 0: '9007199254740993' does not fit into double, and no type holds it"),
        (pa.array([0.5]), pa.int64(), "row 0: '0.5' does not fit into int64"),
        (pa.array([b"\xff"]), pa.string(), "row 0: "),
    ],
    ids=str,
)
def test_what_a_column_of_the_broker_cannot_hold_is_told_with_what_to_do(values, kind, reason):
    with pytest.raises(BadValue) as caught:
        cast_open(values, kind, "d:c")
    assert caught.value.field == "d:c"
    assert caught.value.message.startswith("column d:c, row ")
    assert reason in caught.value.message


def test_the_widest_type_of_an_integer_and_a_float_holds_both():
    assert widest(pa.int32(), pa.float32()) == pa.float64()
    assert widest(pa.int32(), pa.int64()) == pa.int64()
    assert widest(pa.float32(), pa.float64()) == pa.float64()
    assert widest(pa.float64(), pa.string()) == pa.string()
