"""Derived columns against recorded answers of the public service, from the same cells and through a store."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import GOLDEN, TDE
from archives import open_embedded

from flight_server.catalog.catalog import load_catalog
from flight_server.derive import derive, load_derived
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query

DERIVED = load_derived("ztf")
KNOWN = load_catalog().known["ztf"]
OBJECT = "ZTF20abfcszi"
CONE = (320.3837838, 13.5583184)
OF_THE_SERVICE = {
    "v:classification",
    "v:lastdate",
    "v:firstdate",
    "v:lapse",
    "v:constellation",
    "v:rate",
    "v:sigma(rate)",
    "v:g-r",
    "v:sigma(g-r)",
    "v:rate(g-r)",
    "v:sigma(rate(g-r))",
}
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the public service's answers are not at hand")


@pytest.fixture(scope="module")
def cells():
    return json.loads(gzip.decompress(GOLDEN.read_bytes()))


def table_of(rows):
    """Return cells of text as columns of a store; only the inputs of derived columns."""
    wanted = {"i:candid"} | {name for column in DERIVED.values() for name in column.reads(KNOWN)}
    made = {}
    for name in sorted(wanted & {name for row in rows for name in row}):
        kind = KNOWN[name].type
        made[name] = pa.array([row.get(name) for row in rows], pa.string()).cast(kind)
    return pa.table(made)


def same(found, expected):
    """Return the indices at which two lists differ; floats are compared bit by bit."""
    assert len(found) == len(expected)
    return [place for place, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]]


def without_nan(array):
    return [None if isinstance(value, float) and np.isnan(value) else value for value in array.to_pylist()]


@needs_golden
def test_all_columns_of_an_object_are_equal_to_the_last_bit(cells):
    answer = pq.read_table(GOLDEN.parent / f"ztf_objects_{OBJECT}.parquet")
    assert {name for name in answer.schema.names if name.startswith("v:")} == OF_THE_SERVICE
    # objects are mixed, and in the order of the cells: neither must matter
    rows = table_of(list(cells["ztf"].values()))
    made = derive(rows, OF_THE_SERVICE, DERIVED)
    places = {candid: place for place, candid in enumerate(rows["i:candid"].to_pylist())}
    order = [places[candid] for candid in answer["i:candid"].to_pylist()]
    assert len(order) == 21
    for name in OF_THE_SERVICE:
        found = made[name].take(pa.array(order)).to_pylist()
        assert same(found, without_nan(answer[name])) == [], name
        assert sum(value is not None for value in found) >= 9, name


@needs_golden
def test_all_columns_are_shown_as_json_shows_them(cells):
    answer = json.loads((GOLDEN.parent / f"ztf_objects_{OBJECT}.json").read_text())
    rows = table_of([cells["ztf"][f"{OBJECT}_{alert['i:jd']!r}"] for alert in answer])
    for name, array in derive(rows, OF_THE_SERVICE, DERIVED).items():
        shown = [round(value, 10) if isinstance(value, float) else value for value in array.to_pylist()]
        assert shown == [alert[name] for alert in answer], name


@needs_golden
def test_the_rows_of_the_class_table_are_in_their_class(cells):
    keys = list(cells["ztf.class"])
    rows = [cells["ztf.class"][key] for key in keys]
    found = derive(table_of(rows), ["v:classification"], DERIVED)["v:classification"].to_pylist()
    # the key is the class, the date and the name of the object
    assert found == [key.removesuffix(f"_{row['i:jd']}_{row['i:objectId']}") for key, row in zip(keys, rows, strict=True)]
    assert len(set(found)) > 60
    assert {"Ambiguous", "Early SN Ia candidate", "Kilonova candidate", "Solar System MPC"} < set(found)


@needs_golden
@pytest.mark.parametrize("answer", ["ztf_conesearch_ZTF18abadigg.json", "ztf_conesearch_1deg.json"])
def test_separations_are_those_of_the_cone_search(answer):
    alerts = json.loads((GOLDEN.parent / answer).read_text())
    rows = pa.table({name: [alert[name] for alert in alerts] for name in ("i:ra", "i:dec")})
    made = derive(rows, ["v:separation_degree"], DERIVED, {"centre": CONE})["v:separation_degree"]
    assert made.to_pylist() == [alert["v:separation_degree"] for alert in alerts]
    assert len(made) == 1


# what the service says of three of the 21 alerts
ANSWERS = {
    2459064.9161227: {
        "v:classification": "SN candidate",
        "v:rate": 551.1807220718133,
        "v:sigma(rate)": 234.32814880142033,
        "v:g-r": None,
        "v:sigma(g-r)": None,
        "v:rate(g-r)": None,
        "v:sigma(rate(g-r))": None,
        "v:lastdate": "2020-08-03 09:59:13.001",
        "v:firstdate": "2020-06-14 09:27:05.003",
        "v:lapse": 50.02231479994953,
        "v:constellation": "Cepheus",
    },
    2459069.840787: {
        "v:classification": "SN candidate",
        "v:rate": 0.8467473047707627,
        "v:sigma(rate)": 4.03880002669926,
        "v:g-r": -0.13634899999999917,
        "v:sigma(g-r)": 0.08872115688358952,
        "v:rate(g-r)": 0.8467473047707627,
        "v:sigma(rate(g-r))": 5.728774551471593,
        "v:lastdate": "2020-08-08 08:10:43.997",
        "v:firstdate": "2020-06-24 09:18:13.997",
        "v:lapse": 44.953125,
        "v:constellation": "Cepheus",
    },
    2459063.9292593: {"v:rate": None, "v:sigma(rate)": None, "v:lastdate": "2020-08-02 10:18:08.004"},
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Return the rows of the object from an embedded store."""
    opened = open_embedded(tmp_path_factory.mktemp("derived") / "store")
    opened.ingest(TDE)
    columns = sorted({name for column in DERIVED.values() for name in column.needs} | {"i:candid"})
    messages = opened.archive.answer(Query(table="ztf", ids=(OBJECT,), columns=tuple(columns)), Caller()).messages
    rows = pa.Table.from_batches([message.batch for message in messages])
    opened.store.close()
    return rows


def test_alerts_of_a_store_have_the_columns_that_the_service_shows(stored):
    made = derive(stored, OF_THE_SERVICE, DERIVED)
    times = stored["i:jd"].to_pylist()
    assert len(times) == 21
    for jd, answer in ANSWERS.items():
        place = times.index(jd)
        assert {name: made[name][place].as_py() for name in answer} == answer


@needs_golden
def test_all_alerts_of_a_store_have_what_the_service_has(stored):
    answer = pq.read_table(GOLDEN.parent / f"ztf_objects_{OBJECT}.parquet").to_pylist()
    expected = {alert["i:candid"]: alert for alert in answer}
    made = derive(stored, OF_THE_SERVICE, DERIVED)
    for name in OF_THE_SERVICE:
        wanted = pa.array([expected[candid][name] for candid in stored["i:candid"].to_pylist()])
        assert same(made[name].to_pylist(), without_nan(wanted)) == [], name
