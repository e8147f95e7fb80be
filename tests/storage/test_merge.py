import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.storage.merge import key_array, merge_equal_keys, merge_over

SCHEMA = pa.schema(
    [("f", pa.float32()), ("d", pa.float64()), ("n", pa.int64()), ("s", pa.string()), ("b", pa.bool_()), ("x", pa.binary())]
)
NAN = float("nan")
FLOATS = st.none() | st.sampled_from([0.0, -0.0, 1.5, NAN])
CELLS = st.fixed_dictionaries(
    {
        "f": FLOATS,
        "d": FLOATS,
        "n": st.none() | st.integers(0, 2),
        "s": st.none() | st.sampled_from(["", "a", "b"]),
        "b": st.none() | st.booleans(),
        "x": st.none() | st.sampled_from([b"", b"a"]),
    }
).map(lambda cells: {name: cells[name] for name in SCHEMA.names})
KEYED = st.lists(st.tuples(st.sampled_from(["a", "b", "bé", "c"]), CELLS), max_size=10)


def table(rows):
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def keyed(keys):
    return key_array(pa.array(list(keys), pa.string()))


def over(earlier, later):
    """Return the merged cells of two rows with the same key: the oracle."""
    return {name: one_over(earlier.get(name), value) for name, value in later.items()}


def one_over(earlier, later):
    missing = later is None or later != later  # noqa: PLR0124  (NaN)
    return earlier if missing and earlier is not None else later


def merged(pairs):
    found = {}
    for key, cells in pairs:
        found[key] = over(found.get(key, {}), cells)
    return found


@given(KEYED)
def test_the_last_value_that_is_not_missing_stands(pairs):
    pairs = sorted(pairs, key=lambda pair: pair[0].encode())
    rows, keys = merge_equal_keys(table(cells for _, cells in pairs), keyed(key for key, _ in pairs))
    expected = merged(pairs)
    assert [key.decode() for key in keys.tolist()] == list(expected)
    assert repr(rows.to_pylist()) == repr(list(expected.values()))
    assert rows.schema == SCHEMA


@given(KEYED, KEYED, st.integers(1, 3))
def test_rows_are_merged_over_those_held_and_unchanged_ones_are_told(held, new, chunk):
    held, new = merged(held), merged(new)
    names = sorted(new)
    kept = [name for name in held if name in new]
    rows = table(new[name] for name in names)
    standing = pa.concat_tables([table([]), *(table(held[k] for k in kept[i : i + chunk]) for i in range(0, len(kept), chunk))])
    found, changed = merge_over(standing, np.array([names.index(name) for name in kept], dtype=np.int64), rows)
    expected = [over(held.get(name, {}), new[name]) for name in names]
    assert repr(found.to_pylist()) == repr(expected)
    assert changed.tolist() == [name not in held or repr(over(held[name], new[name])) != repr(held[name]) for name in names]


@pytest.mark.parametrize(
    ("held", "new", "result", "changed"),
    [
        (1.5, None, 1.5, False),
        (1.5, NAN, 1.5, False),
        (NAN, None, NAN, False),
        (NAN, NAN, NAN, False),
        (NAN, 1.5, 1.5, True),
        (None, NAN, NAN, True),
    ],
)
def test_nan_replaces_no_value(held, new, result, changed):
    rows, differs = merge_over(
        pa.table({"f": [held]}, pa.schema([("f", pa.float64())])),
        np.array([0]),
        pa.table({"f": [new]}, pa.schema([("f", pa.float64())])),
    )
    assert repr(rows["f"].to_pylist()) == repr([result])
    assert differs.tolist() == [changed]


def test_merging_is_the_same_in_one_step_and_in_two():
    versions = [{"f": 1.0, "s": None}, {"f": None, "s": "x"}, {"f": NAN, "s": None}, {"f": None, "s": "y"}]
    schema = pa.schema([("f", pa.float64()), ("s", pa.string())])
    once, _ = merge_equal_keys(pa.Table.from_pylist(versions, schema=schema), keyed("aaaa"))
    step = pa.Table.from_pylist(versions[:1], schema=schema)
    for version in versions[1:]:
        step, _ = merge_over(step, np.array([0]), pa.Table.from_pylist([version], schema=schema))
    assert repr(once.to_pylist()) == repr(step.to_pylist()) == repr([{"f": 1.0, "s": "y"}])


@given(st.lists(st.text("aé_", min_size=1, max_size=5)))
def test_keys_are_utf8_bytes_of_one_width(keys):
    found = keyed(keys)
    assert found.tolist() == [key.encode() for key in keys]
    assert key_array(pa.chunked_array([pa.array(keys, pa.string())])).tolist() == found.tolist()
