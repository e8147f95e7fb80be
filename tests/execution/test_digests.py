import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.execution.digests import Digest

VALUES = {
    pa.string(): st.text(max_size=3),
    pa.binary(): st.binary(max_size=3),
    pa.bool_(): st.booleans(),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.list_(pa.int16(), 2): st.lists(st.integers(-(2**15), 2**15 - 1), min_size=2, max_size=2),
}
SCHEMA = pa.schema([(f"d:{kind}", kind) for kind in VALUES])
ROWS = st.lists(st.tuples(*(st.none() | values for values in VALUES.values())), max_size=12)


def batch(rows, schema=SCHEMA):
    columns = list(zip(*rows, strict=True)) if rows else [[]] * len(schema)
    return pa.record_batch([pa.array(list(c), f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def digest(*batches, schema=None):
    found = Digest(schema or batches[0].schema)
    for part in batches:
        found.update(part)
    return found.hexdigest()


@given(ROWS, st.lists(st.integers(0, 12)))
def test_the_digest_does_not_depend_on_cutting_nor_on_offsets(rows, cuts):
    whole = batch(rows)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    sliced = [whole.slice(low, high - low) for low, high in itertools.pairwise(bounds)]
    copied = [batch(rows[low:high]) for low, high in itertools.pairwise(bounds)]
    assert digest(whole) == digest(*sliced) == digest(*copied)


@given(ROWS, ROWS)
def test_different_rows_have_different_digests(first, second):
    # by repr, so that NaN is itself and -0.0 is not 0.0
    assert (digest(batch(first)) == digest(batch(second))) == (repr(first) == repr(second))


def one(values, kind):
    return pa.record_batch([pa.array(values, kind)], names=["a"])


@pytest.mark.parametrize("kind", [pa.int32(), pa.float64(), pa.float32(), pa.int64()], ids=str)
def test_what_lies_under_a_null_does_not_count(kind):
    def masked(values):
        return pa.record_batch(
            [pa.array(np.array(values, kind.to_pandas_dtype()), mask=np.array([False, True, False]))], names=["a"]
        )

    assert digest(masked([1, 2, 3])) == digest(masked([1, 77, 3])) == digest(one([1, None, 3], kind))


def test_text_that_lies_under_a_null_does_not_count():
    validity, offsets = pa.py_buffer(b"\x05"), pa.py_buffer(np.array([0, 1, 4, 5], np.int32))
    hidden = pa.Array.from_buffers(pa.string(), 3, [validity, offsets, pa.py_buffer(b"axyzb")])
    assert digest(pa.record_batch([hidden], names=["a"])) == digest(one(["a", None, "b"], pa.string()))


TENSOR = pa.fixed_shape_tensor(pa.float32(), (2, 2))


def tensors(values, mask):
    mask = pa.array(np.array(mask))
    cells = pa.FixedSizeListArray.from_arrays(pa.array(np.array(values, "f4").ravel()), 4, mask=mask)
    return cells, pa.ExtensionArray.from_storage(TENSOR, cells)


def test_a_tensor_counts_as_what_it_is_stored_as():
    cells, whole = tensors([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]], [False, True, False])
    _, hidden = tensors([[1, 2, 3, 4], [0, 0, 0, 0], [9, 10, 11, 12]], [False, True, False])
    _, other = tensors([[1, 2, 3, 4], [0, 0, 0, 0], [9, 10, 11, 13]], [False, True, False])
    told = [pa.record_batch([column], names=["a"]) for column in (cells, whole, hidden, other)]
    assert len({digest(one) for one in told[:3]}) == 1
    assert digest(told[3]) != digest(told[0])
    assert digest(told[1]) == digest(told[1].slice(0, 1), told[1].slice(1))


NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        (pa.string(), ["a", "bc"], ["ab", "c"]),
        (pa.string(), ["", "a"], ["a", ""]),
        (pa.string(), [None], [""]),
        (pa.string(), [None, ""], ["", None]),
        (pa.binary(), [b"\0"], [b""]),
        (pa.binary(), [b"a", b"bc"], [b"ab", b"c"]),
        (pa.float64(), [None], [0.0]),
        (pa.float64(), [None], [NAN]),
        (pa.float64(), [0.0], [NAN]),
        (pa.float32(), [NAN], [None]),
        (pa.int64(), [None, 0], [0, None]),
        (pa.int64(), [1, 2], [2, 1]),
        (pa.int32(), [0], [0, 0]),
        (pa.bool_(), [None], [False]),
        (pa.bool_(), [True], [False]),
    ],
)
def test_cells_that_differ_show(kind, first, second):
    assert digest(one(first, kind)) != digest(one(second, kind))


def test_names_types_and_order_of_columns_show():
    schemas = [
        [("a", pa.int32()), ("b", pa.int64())],
        [("b", pa.int64()), ("a", pa.int32())],
        [("a", pa.int32()), ("c", pa.int64())],
    ]
    schemas += [[("a", pa.int32()), ("b", pa.int32())], [("a", pa.int32())], []]
    assert len({Digest(pa.schema(schema)).hexdigest() for schema in schemas}) == len(schemas)


def test_cells_do_not_wander_between_columns():
    schema = pa.schema([("a", pa.string()), ("b", pa.string())])
    assert digest(batch([("ab", "c")], schema)) != digest(batch([("a", "bc")], schema))
    assert digest(batch([("x", None)], schema)) != digest(batch([(None, "x")], schema))
