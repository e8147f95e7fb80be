"""Precedence among rows with the same key, in every kind of merge."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flight_server.catalog.declarations import load_surveys
from flight_server.storage.merge import drop_superseded, merge_equal_keys, merge_over

TABLES = load_surveys()["ztf"].tables
PIXELS, ALERTS = TABLES["ztf.pixel128"], TABLES["ztf"]
LAST = replace(PIXELS, latest=())
SCHEMA = pa.schema(
    {
        "i:jd": pa.float64(),
        "i:candid": pa.int64(),
        "i:jdstarthist": pa.float64(),
        "i:tblid": pa.int64(),
        "i:isdiffpos": pa.string(),
        "i:drb": pa.float32(),
    }
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from([b"a", b"b", b"c"]),
        st.fixed_dictionaries(
            {
                "i:jd": st.sampled_from([None, 1.5, 2.5]),
                "i:candid": st.sampled_from([None, 1, 2**62, 2**62 + 1]),
                "i:jdstarthist": st.sampled_from([None, 0.5]),
                "i:tblid": st.sampled_from([None, 1, 2]),
                "i:isdiffpos": st.sampled_from([None, "1", "t"]),
                "i:drb": st.sampled_from([None, 0.25]),
            }
        ),
    ),
    min_size=1,
    max_size=8,
)


def table_of(rows):
    ordered = sorted(rows, key=lambda row: row[0])
    return pa.Table.from_pylist([cells for _, cells in ordered], SCHEMA), np.array([key for key, _ in ordered])


def plain(rows, names):
    """Return the rows that are not superseded, by key, compared one by one in Python."""
    found = {}
    for key in {key for key, _ in rows}:
        own = [cells for other, cells in rows if other == key]
        ranks = [
            tuple((cells[name] is not None, cells[name] or 0) if name != "i:isdiffpos" else cells[name] or "" for name in names)
            for cells in own
        ]
        found[key] = [cells for cells, rank in zip(own, ranks, strict=True) if rank == max(ranks)]
    return found


def listed(rows, keys):
    found = {}
    for key, cells in zip(keys.tolist(), rows.to_pylist(), strict=True):
        found.setdefault(key, []).append(cells)
    return found


@given(ROWS)
def test_the_largest_values_stand(rows):
    assert listed(*drop_superseded(PIXELS, *table_of(rows))) == plain(rows, PIXELS.latest)


@given(ROWS)
def test_without_any_column_the_last_row_stands(rows):
    ordered = sorted(rows, key=lambda row: row[0])
    assert listed(*drop_superseded(LAST, *table_of(rows))) == {key: [cells] for key, cells in ordered}


@given(ROWS)
def test_points_give_way_to_alerts_and_to_the_largest_of_them_and_alerts_to_the_last_one(rows):
    wanted = {}
    for key in {key for key, _ in rows}:
        own = [row for row in rows if row[0] == key]
        alerts = [cells for _, cells in own if cells["i:jdstarthist"] is not None]
        kept = alerts or plain(own, ALERTS.points.latest)[key]
        last = next((cells["i:candid"] for cells in reversed(kept) if cells["i:candid"] is not None), None)
        wanted[key] = [cells for cells in kept if cells["i:candid"] in {None, last}]
    assert listed(*drop_superseded(ALERTS, *table_of(rows))) == wanted


@given(ROWS, ROWS)
def test_rows_that_are_held_stand_as_if_they_came_together(held, rows):
    first, first_keys = merge_equal_keys(*drop_superseded(PIXELS, *table_of(held)))
    second, second_keys = merge_equal_keys(*drop_superseded(PIXELS, *table_of(rows)))
    common = np.isin(first_keys, second_keys)
    where = np.searchsorted(second_keys, first_keys[common])
    merged, changed = merge_over(first.filter(pa.array(common)), where, second, PIXELS)
    together, keys = merge_equal_keys(*drop_superseded(PIXELS, *table_of([*held, *rows])))
    expected = together.filter(pa.array(np.isin(keys, second_keys)))
    assert merged.to_pylist() == expected.to_pylist()
    before = dict(zip(first_keys.tolist(), first.to_pylist(), strict=True))
    now = dict(zip(second_keys.tolist(), merged.to_pylist(), strict=True))
    assert changed.tolist() == [now[key] != before.get(key) for key in now]


@pytest.mark.parametrize("table", [PIXELS, LAST, ALERTS])
def test_no_rows_stay_no_rows(table):
    rows, keys = drop_superseded(table, SCHEMA.empty_table(), np.zeros(0, dtype="S1"))
    assert (len(rows), len(keys)) == (0, 0)
