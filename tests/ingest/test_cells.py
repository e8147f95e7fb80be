import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.catalog.declarations import load_surveys
from flight_server.ingest.cells import cell_types, flatten, version_text
from flight_server.protocol.errors import BadValue

SURVEY = load_surveys()["ztf"]
LAYOUT = SURVEY.alerts
NAN = float("nan")
VERSIONS = st.none() | st.lists(st.integers(0, 120), min_size=1, max_size=4)


def spelled(version):
    return None if version is None else ".".join(map(str, version))


@given(st.lists(st.tuples(VERSIONS, VERSIONS), min_size=2, max_size=8))
def test_version_texts_sort_as_broker_then_science_version_do(versions):
    broker, science = (pa.array([spelled(v) for v in column], pa.string()) for column in zip(*versions, strict=True))
    texts = version_text({"b": broker, "s": science}, ("b", "s"), len(versions)).to_pylist()
    numbers = [(first or [], second or []) for first, second in versions]
    for text, number in zip(texts, numbers, strict=True):
        assert [text < other for other in texts] == [number < other for other in numbers]
        assert [text == other for other in texts] == [number == other for other in numbers]


@pytest.mark.parametrize(
    ("earlier", "later"), [("3.9", "3.10"), ("3.9", "3.9.1"), ("v2", "10.0"), ("", "0"), (None, "0.1"), ("3.999999", "3.1000000")]
)
def test_versions_compare_as_numbers(earlier, later):
    texts = version_text({"v": pa.array([earlier, later], pa.string())}, ("v",), 2).to_pylist()
    assert texts[0] < texts[1]


def test_a_version_that_no_alert_has_is_missing_everywhere():
    assert len(set(version_text({}, ("b", "s"), 3).to_pylist())) == 1


def alerts(**columns):
    table = {"objectId": ["a", "b", "c"], "candid": [1, 2, 3], "candidate": [{"jd": 2459000.5 + n, "fid": 1} for n in range(3)]}
    return pa.table(table | columns)


def flat(table):
    types, _ = cell_types(table.schema, LAYOUT)
    return flatten(table, LAYOUT, types)


def lists(cells):
    return {name: column.to_pylist() for name, column in cells.of(SURVEY.alert_table).items()}


def test_an_alert_becomes_cells_of_its_families():
    table = alerts(
        schemavsn=["3.3"] * 3, cdsxmatch=["Unknown", None, "SN"], year=[2020] * 3, fink_broker_version=["3.9", "3.10", None]
    )
    cells = flat(table)
    assert lists(cells) == {
        "i:objectId": ["a", "b", "c"],
        "i:jd": [2459000.5, 2459001.5, 2459002.5],
        "i:fid": [1, 1, 1],
        "i:schemavsn": ["3.3"] * 3,
        "i:fink_broker_version": ["3.9", "3.10", None],
        "d:cdsxmatch": ["Unknown", None, "SN"],
    } | ({"i:candid": [1, 2, 3]} if "i:candid" in cells.structs["candidate"] else {})
    texts = cells.version.to_pylist()
    assert texts[2] < texts[0] < texts[1]
    assert cells.histories == {}


def test_maps_and_structs_give_the_same_cells():
    values = [{"HyperLEDA_name": "x", "2MASS_name": None, "lum_dist": "1.5", "ang_dist": "2"}, None, {"HyperLEDA_name": "y"}]
    struct = pa.array(values, pa.struct([(n, pa.string()) for n in ("HyperLEDA_name", "2MASS_name", "lum_dist", "ang_dist")]))
    mapped = pa.array([None if v is None else list(v.items()) for v in values], pa.map_(pa.string(), pa.string()))
    found = [{n: c for n, c in lists(flat(alerts(mangrove=column))).items() if "mangrove" in n} for column in (struct, mapped)]
    assert found[0]["d:mangrove_HyperLEDA_name"] == ["x", None, "y"]
    assert found[0]["d:mangrove_lum_dist"] == ["1.5", None, None]
    # of a map only the keys that some alert has are columns
    assert found[1] == {n: c for n, c in found[0].items() if any(c)}


def features(**parts):
    kind = pa.struct([(name, pa.float64()) for name in LAYOUT.nested["lc_features_g"].text])
    return pa.array([dict.fromkeys(kind.names, 0.0) | parts, None, {"mean": NAN, "skew": 1e7}], kind)


def test_features_become_a_list_as_text_in_the_declared_order():
    text = lists(flat(alerts(lc_features_g=features(median=2.5))))["d:lc_features_g"]
    assert text[0] == "[0.0, 0.0, 0.0, 2.5" + ", 0.0" * 22 + "]"
    assert text[1] is None
    names = LAYOUT.nested["lc_features_g"].text
    assert text[2] == "[" + ", ".join({"mean": "NaN", "skew": "1.0E7"}.get(name, "null") for name in names) + "]"


def test_features_that_a_release_lacks_are_null_in_their_places():
    few = pa.array([{"skew": 1.5, "mean": 2.0, "extra": 9.0}] * 3)
    table = alerts(lc_features_r=few)
    names = LAYOUT.nested["lc_features_r"].text
    assert (
        lists(flat(table))["d:lc_features_r"][0]
        == "[" + ", ".join({"mean": "2.0", "skew": "1.5"}.get(n, "null") for n in names) + "]"
    )
    assert "lc_features_r.extra" in cell_types(table.schema, LAYOUT)[1]


def test_a_null_struct_hides_what_lies_under_it():
    struct = pa.StructArray.from_arrays(
        [pa.array([1.0, 2.0, 3.0]), pa.array([1, 2, 3])], ["jd", "fid"], mask=pa.array([False, True, False])
    )
    cells = lists(flat(alerts(candidate=struct)))
    assert cells["i:jd"] == [1.0, None, 3.0]
    assert cells["i:fid"] == [1, None, 3]


def test_chunks_and_slices_change_nothing():
    table = alerts(lc_features_g=features(median=2.5), cdsxmatch=["x", None, "z"], prv_candidates=[[{"jd": 1.0}], None, []])
    cut = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert lists(flat(cut)) == lists(flat(table))
    assert lists(flat(table.slice(1))) == {name: values[1:] for name, values in lists(flat(table)).items()}
    assert flat(table.slice(1)).histories["prv_candidates"].to_pylist() == [None, []]


def test_stamps_are_taken_by_their_path():
    stamps = [{"fileName": "f", "stampData": b"x"}, None, {"fileName": "f", "stampData": None}]
    assert {kind: values.to_pylist() for kind, values in flat(alerts(cutoutScience=stamps)).stamps.items()} == {
        "Science": [b"x", None, None]
    }


def test_what_is_not_one_cell_is_told_and_left_out():
    table = alerts(tags=[["a"], [], None], t2=[{"a": 1}] * 3, brokerIngestTimestamp=[1] * 3)
    types, left_out = cell_types(table.schema, LAYOUT)
    assert {"tags", "t2", "brokerIngestTimestamp"} <= set(left_out)
    assert not {name for name in types if name.startswith("d:")}
    assert not {name for name in lists(flat(table)) if name.startswith("d:")}


def test_a_value_that_does_not_fit_names_column_and_row():
    table = alerts(candidate=[{"jd": 1.0, "fid": 1}, {"jd": 1.0, "fid": 2}, {"jd": 1.0, "fid": 2**40}])
    with pytest.raises(BadValue) as caught:
        flatten(table, LAYOUT, {"i:fid": pa.int32()})
    assert caught.value.field == "i:fid"
    assert "row 2" in caught.value.message


def test_a_candidate_that_is_no_struct_is_refused():
    with pytest.raises(BadValue) as caught:
        cell_types(alerts(candidate=[1, 2, 3]).schema, LAYOUT)
    assert caught.value.field == "candidate"
