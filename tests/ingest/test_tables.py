import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.declarations import Condition, Where, load_surveys
from flight_server.catalog.missing import missing_as_null
from flight_server.ingest.cells import Cells
from flight_server.ingest.tables import history_fields, meets, table_rows
from flight_server.storage.protocols import VERSION

SURVEY = load_surveys()["ztf"]
POINT = pa.struct(
    [
        ("jd", pa.float64()),
        ("fid", pa.int32()),
        ("diffmaglim", pa.float32()),
        ("magpsf", pa.float32()),
        ("rb", pa.float32()),
        ("nbad", pa.int32()),
    ]
)
VALUES = {"x": pa.array([1.0, None, 3.0, float("nan")]), "s": pa.array(["a", "b", None, "a"])}


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        (Where({}), [0, 1, 2, 3]),
        (Where({"x": Condition(missing=True)}), [1, 3]),
        (Where({"x": Condition(missing=False)}), [0, 2]),
        (Where({"x": Condition(min=1.0)}), [0, 2]),
        (Where({"x": Condition(min=1.5)}), [2]),
        (Where({"x": Condition(max=1.0)}), [0]),
        (Where({"x": Condition(min=1, max=3)}), [0, 2]),
        (Where({"x": Condition(equal=3)}), [2]),
        (Where({"s": Condition(equal="a")}), [0, 3]),
        (Where({"s": Condition(equal="a"), "x": Condition(max=9)}), [0]),
        (Where({}, Where({"s": Condition(equal="a")})), [1, 2]),
        (Where({"x": Condition(missing=False)}, Where({"x": Condition(min=2), "s": Condition(missing=True)})), [0]),
        (Where({}, Where({}, Where({"x": Condition(equal=1)}))), [0]),
    ],
)
def test_the_rows_that_meet_a_condition(where, rows):
    assert np.flatnonzero(meets(where, {name: missing_as_null(values) for name, values in VALUES.items()}, 4)).tolist() == rows


def test_float32_scores_meet_the_cut_that_was_written_in_decimals():
    assert meets(Where({"rb": Condition(min=0.55)}), {"rb": pa.array([0.55, 0.5499], pa.float32())}, 2).tolist() == [True, False]


def cells(histories):
    n = len(histories)
    columns = {"i:objectId": pa.array([f"ZTF{k}" for k in range(n)]), "i:jd": pa.array([2459000.5] * n)}
    # a history that was sliced has offsets of its own
    history = pa.array([[{"jd": -1.0}], *histories], pa.list_(POINT)).slice(1)
    return Cells(columns, {}, pa.array([f"v{k}" for k in range(n)], pa.string()), {"prv_candidates": history})


def history_rows(histories):
    return {table.name: rows for table, rows in table_rows(SURVEY, load_catalog(), cells(histories)) if table.rows == "history"}


def is_limit(point):
    return point["magpsf"] is None


def is_bad(point):
    good = point["rb"] is not None and point["rb"] >= 0.55 and point["nbad"] == 0
    return point["magpsf"] is not None and not good


POINTS = st.fixed_dictionaries(
    {
        "jd": st.floats(2.45e6, 2.48e6),
        "fid": st.integers(1, 3),
        "diffmaglim": st.none() | st.floats(10, 22, width=32),
        "magpsf": st.none() | st.floats(10, 22, width=32),
        "rb": st.none() | st.sampled_from([0.0, 0.5, 0.75]),
        "nbad": st.none() | st.integers(0, 2),
    }
)


@given(st.lists(st.none() | st.lists(POINTS, max_size=5), max_size=5))
def test_a_history_goes_in_as_its_last_point_does(histories):
    found = history_rows(histories)
    for table, meant in (("ztf.upper", is_limit), ("ztf.uppervalid", is_bad)):
        expected = [
            (f"ZTF{n}", point["jd"], point["fid"], point["diffmaglim"], f"v{n}")
            for n, history in enumerate(histories)
            if history and meant(history[-1])
            for point in history
            if meant(point)
        ]
        if table not in found:
            assert expected == []
            continue
        rows = found[table].to_pylist()
        assert [tuple(row[c] for c in ("i:objectId", "i:jd", "i:fid", "i:diffmaglim", VERSION)) for row in rows] == expected
        if table == "ztf.upper":
            assert found[table].column_names == ["i:objectId", "i:jd", "i:fid", "i:diffmaglim", VERSION]


def test_cells_that_a_history_lacks_are_typed_nulls():
    points = [{"jd": 2459000.5, "magpsf": 18.5, "rb": 0.25, "nbad": 0}]
    (row,) = history_rows([points])["ztf.uppervalid"].to_pylist()
    assert (row["i:magpsf"], row["i:distnr"], row["i:isdiffpos"]) == (18.5, None, None)
    rows = history_rows([points])["ztf.uppervalid"]
    assert rows.schema.field("i:distnr").type == pa.float32()
    assert rows.schema.field("i:isdiffpos").type == pa.string()


def test_alerts_without_any_history_give_their_own_rows_only():
    plain = Cells({"i:objectId": pa.array(["a"]), "i:jd": pa.array([2459001.5])}, {}, pa.array(["v"]), {})
    ((table, rows),) = table_rows(SURVEY, load_catalog(), plain)
    assert (table.name, rows.to_pylist()) == ("ztf", [{"i:objectId": "a", "i:jd": 2459001.5, VERSION: "v"}])


def test_alerts_with_any_stamp_get_a_row_of_stamps():
    columns = {
        "i:objectId": pa.array(["a", "b", "c"]),
        "i:candid": pa.array([1, 2, 3]),
        "i:jd": pa.array([2459001.5, 2459002.5, 2459003.5]),
        "i:fid": pa.array([1, 1, 1]),
    }
    stamps = {"Science": pa.array([b"x", None, None]), "Template": pa.array([None, None, b"y"])}
    found = {t.name: r for t, r in table_rows(SURVEY, load_catalog(), Cells(columns, stamps, pa.array(["v"] * 3), {}))}
    rows = found["ztf.cutouts"]
    assert rows["i:candid"].to_pylist() == [1, 3]
    assert rows["b:cutoutScience_stampData"].to_pylist() == [b"x", None]
    assert rows["b:cutoutTemplate_stampData"].to_pylist() == [None, b"y"]
    assert "i:fid" not in rows.column_names
    assert len(found["ztf"]) == 3


def test_only_the_fields_that_tables_need_are_read_of_a_history():
    fields = history_fields(SURVEY)
    assert {"jd", "fid", "diffmaglim", "magpsf", "rb", "nbad"} <= fields
    assert not {"ra", "dec", "candid"} & fields
