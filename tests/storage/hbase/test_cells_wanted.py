"""The cells that a scan requests: few columns by name, many by family, and always one that each row has."""

import json

import pytest

from flight_server.catalog.catalog import load_catalog
from flight_server.storage.hbase.requests import NAMED_MOST, cells_wanted
from flight_server.storage.hbase.schema_rows import find_schema

ZTF = load_catalog().table("ztf")
FURTHER = {f"d:f{number:02d}": "float" for number in range(NAMED_MOST)}
ROW = {"i:objectId": "string", "i:jd": "double", "i:fid": "integer", "d:odd": "map<int,int>", "b:old": "binary"}
SCHEMA = find_schema(
    ZTF,
    {"schema_2_1": ROW | FURTHER, "schema_1_1": {"i:objectId": "string", "i:jd": "double", "i:fid": "long"}},
    load_catalog(),
)
CATALOGUE = load_catalog().with_stored({"ztf": SCHEMA.columns})


def wanted(names):
    return json.loads(cells_wanted(ZTF, CATALOGUE.columns(ZTF, names), SCHEMA))


def names(words):
    return [each["name"] for each in words]


def test_few_columns_are_asked_for_by_name_and_the_id_besides():
    words = wanted(["i:fid", "d:f03"])
    assert words["columns"] == [
        {"name": "i:fid", "type": "integer", "stored": ["integer", "long"]},
        {"name": "d:f03", "type": "float", "stored": ["float"]},
    ]
    assert names(words["named"]) == ["i:fid", "d:f03", "i:objectId"]
    assert names(words["known"]) == ["i:objectId"], "its cells are read past"
    assert "families" not in words
    assert words["skip"] == "schema"


def test_the_id_is_asked_for_once():
    words = wanted(["i:objectId", "i:jd"])
    assert names(words["named"]) == ["i:objectId", "i:jd"]
    assert words["known"] == []


def test_a_column_that_no_release_has_written_is_not_asked_for():
    words = wanted(["d:tns", "d:slsn_score"])
    assert words["columns"] == [
        {"name": "d:tns", "type": "string", "stored": []},
        {"name": "d:slsn_score", "type": "float", "stored": []},
    ]
    assert names(words["named"]) == ["i:objectId"]


@pytest.mark.parametrize("count", [NAMED_MOST - 1, NAMED_MOST, NAMED_MOST + 1])
def test_many_columns_are_read_by_their_families(count):
    columns = [*FURTHER, "i:fid"][:count]
    words = wanted(columns)
    assert names(words["columns"]) == columns
    assert ("named" in words) == (count <= NAMED_MOST)
    if count > NAMED_MOST:
        assert words["families"] == ["d", "i"]
        assert sorted(names(words["known"])) == sorted(set(SCHEMA.stored) - set(columns))
        assert {one["type"] for one in words["known"]} == {"binary"}, "a cell that is read past may have any bytes"
        assert "d:odd" not in names(words["known"]), "it is counted as nobody's"


def test_whoever_wants_all_columns_reads_families_however_few_there_are():
    schema = find_schema(ZTF, {"schema_1_1": {"i:objectId": "string", "i:jd": "double", "d:x": "float"}}, load_catalog())
    catalog = load_catalog().with_stored({"ztf": schema.columns})
    words = json.loads(cells_wanted(ZTF, catalog.columns(ZTF, None), schema))
    assert words["families"] == ["d", "i"]
    words = json.loads(cells_wanted(ZTF, catalog.columns(ZTF, ["i:jd", "d:x"]), schema))
    assert names(words["named"]) == ["i:jd", "d:x", "i:objectId"]
