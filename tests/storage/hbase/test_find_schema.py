"""Schema rows as text: the columns of a table and their types."""

import pyarrow as pa
import pytest

from flight_server.catalog.catalog import load_catalog
from flight_server.protocol.errors import TableRefused, UnknownColumn
from flight_server.storage.hbase.schema_rows import EARLIER, find_schema, schema_row_key

CATALOGUE = load_catalog()
ZTF = CATALOGUE.table("ztf")
ALWAYS = {"i:objectId": "string", "i:jd": "double"}


def found(rows, wanted="newest"):
    return find_schema(ZTF, {key: ALWAYS | row for key, row in rows.items()}, CATALOGUE, wanted)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("schema_3.9_6.1.1", "schema_3.10_1.0.0"),
        ("schema_4.0_6.1.1", "schema_4.0_6.1.2"),
        ("schema_4.0_6.9", "schema_4.0_6.10"),
        ("schema_4.0_9.9", "schema_4.0.1_0.1"),
        ("schema_9_9", "schema_10_0"),
        ("schema_0_0", "schema_0.1_0"),
        ("schema_", "schema_0_0"),
        ("schema", "schema_1_1"),
        ("schema_2.0rc1_1", "schema_2.1_1"),
    ],
)
def test_releases_are_ordered_by_their_numbers(older, newer):
    for rows in ({older: {"d:x": "long"}, newer: {"d:x": "string"}}, {newer: {"d:x": "string"}, older: {"d:x": "long"}}):
        schema = found(rows)
        assert schema.row == newer
        assert schema.columns["d:x"] == pa.string()
        assert schema.stored["d:x"] == ("string", "long")


def test_the_row_that_is_named_comes_first_and_the_others_stay():
    rows = {"schema_1_1": {"d:x": "long"}, "schema_2_1": {"d:x": "double", "d:y": "float"}, "schema_3_1": {"d:x": "string"}}
    schema = found(rows, "schema_1_1")
    assert schema.row == "schema_1_1"
    assert schema.stored["d:x"] == ("long", "string", "double")
    assert schema.columns == {"i:objectId": pa.string(), "i:jd": pa.float64(), "d:x": pa.float64(), "d:y": pa.float32()}


def test_types_of_known_columns_are_the_catalogs():
    schema = found({"schema_1_1": {"i:magpsf": "double", "i:fid": "short", "i:candid": "integer"}})
    assert schema.columns["i:magpsf"] == pa.float32()
    assert schema.columns["i:fid"] == pa.int32()
    assert schema.columns["i:candid"] == pa.int64()
    assert schema.stored["i:fid"] == ("short",), "what the cells are read as is what was written"


def test_types_that_only_schema_rows_have():
    schema = found({"schema_1_1": {"d:small": "short", "d:picture": "fits/image", "d:raw": "binary", "d:flag": "boolean"}})
    kinds = {name: str(schema.columns[name]) for name in ("d:small", "d:picture", "d:raw", "d:flag")}
    assert kinds == {"d:small": "int32", "d:picture": "binary", "d:raw": "binary", "d:flag": "bool"}
    assert schema.stored["d:picture"] == ("binary",)


def test_a_type_that_nobody_knows_hides_its_column_and_an_older_one_does_not_bring_it_back():
    schema = found(
        {"schema_2_1": {"d:x": "map<string,int>", "d:y": "float"}, "schema_1_1": {"d:x": "float", "d:y": "array<int>"}}
    )
    assert "d:x" not in schema.columns
    assert "d:x" not in schema.stored
    assert schema.unreadable == {"d:x": "map<string,int>"}
    assert schema.stored["d:y"] == ("float",)


def test_columns_that_the_table_has_no_place_for_are_known_but_not_its_own():
    schema = found({"schema_1_1": {"b:cutoutScience_stampData": "fits/image", "d:hdfs_path": "string", "a:note": "string"}})
    assert set(schema.columns) == set(ALWAYS)
    assert {"b:cutoutScience_stampData", "d:hdfs_path", "a:note"} <= set(schema.stored)


@pytest.mark.parametrize(
    ("rows", "wanted", "reason"),
    [
        ({}, "newest", "ztf has no schema row"),
        ({"schema_1_1": {}}, "schema_2_1", "no schema row schema_2_1; it has schema_1_1"),
        ({"schema_1_1": {"i:jd": "string"}}, "newest", "schema_1_1 has i:jd as string, but the catalog as double"),
        ({"schema_1_1": {"i:jd": "decimal(17,9)"}}, "newest", "i:jd"),
        ({"schema_1_1": {"i:objectId": "binary"}}, "newest", "i:objectId"),
        ({"schema_1_1": {"i:objectId": "long"}}, "newest", "i:objectId"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(rows, wanted, reason):
    with pytest.raises(TableRefused, match="ztf") as caught:
        found(rows, wanted)
    assert reason in caught.value.message
    assert (caught.value.field, caught.value.value) == ("table", "ztf")


@pytest.mark.parametrize(
    ("column", "kind", "wanted"),
    [
        ("i:candid", "float", "int64"),
        ("i:fid", "decimal(3,0)", "int32"),
        ("i:magpsf", "boolean", "float"),
        ("d:tns", "long", "string"),
    ],
)
def test_a_column_that_contradicts_the_catalog_is_refused_and_no_other(column, kind, wanted):
    schema = found({"schema_1_1": {column: kind, "d:x": "long"}})
    assert schema.refused == {column: f"the schema row schema_1_1 has {column} as {kind}, but the catalog as {wanted}"}
    assert schema.columns == {"i:objectId": pa.string(), "i:jd": pa.float64(), "d:x": pa.int64()}
    catalog = CATALOGUE.with_stored({"ztf": schema.columns}, {"ztf": schema.refused})
    assert column not in catalog.stored_columns(ZTF)
    with pytest.raises(UnknownColumn, match="schema_1_1"):
        catalog.column(ZTF, column)


def test_text_in_a_column_of_numbers_is_read_as_a_number():
    schema = found({"schema_2_1": {"i:magpsf": "string", "i:fid": "string"}, "schema_1_1": {"i:magpsf": "float"}})
    assert schema.columns["i:magpsf"] == pa.float32()
    assert schema.stored["i:magpsf"] == ("string", "float")
    assert schema.columns["i:fid"] == pa.int32()
    assert not schema.refused


def test_a_table_of_text_needs_no_schema_row():
    table = CATALOGUE.table("ztf.metadata")
    schema = find_schema(table, {}, CATALOGUE)
    names = ["d:internal_name", "d:internal_name_encoded", "d:comments", "d:username"]
    assert schema.stored == dict.fromkeys(names, ("string",))
    assert schema.columns == dict.fromkeys(names, pa.string())
    assert find_schema(table, {"schema_1_1": {"d:username": "string"}}, CATALOGUE).columns == {"d:username": pa.string()}


def test_columns_in_the_key_need_no_cells():
    table = CATALOGUE.table("statistics_class")
    schema = find_schema(table, {"schema_1_1": {"basic:raw": "integer", "class:SN": "integer"}}, CATALOGUE)
    assert schema.columns == {"basic:raw": pa.int64(), "class:SN": pa.int32()}


@pytest.mark.parametrize("missing", sorted(ALWAYS))
def test_a_row_without_the_columns_that_select_rows_is_refused(missing):
    row = {name: kind for name, kind in ALWAYS.items() if name != missing} | {"d:x": "long"}
    with pytest.raises(TableRefused, match=f"lacks {missing}"):
        find_schema(ZTF, {"schema_1_1": row}, CATALOGUE)


def test_keys_of_schema_rows():
    assert schema_row_key("4.0", "6.1.1") == "schema_4.0_6.1.1"
    assert schema_row_key("", "") == "schema_0_0"


@pytest.mark.parametrize(
    ("newer", "older", "kind"),
    [
        ("integer", "long", pa.int64()),
        ("float", "double", pa.float64()),
        ("float", "integer", pa.float64()),
        ("boolean", "short", pa.int32()),
        ("double", "string", pa.float64()),
        ("string", "double", pa.string()),
    ],
)
def test_a_column_that_only_schema_rows_type_has_the_widest_of_its_numbers(newer, older, kind):
    schema = found({"schema_2_1": {"d:x": newer}, "schema_1_1": {"d:x": older}})
    assert schema.columns["d:x"] == kind
    assert schema.stored["d:x"] == (newer, older)


def test_types_that_ingests_have_replaced_are_still_read():
    schema = found({"schema_2_1": {"d:x": "double"}, EARLIER: {"d:x": "long,boolean"}})
    assert schema.row == "schema_2_1"
    assert schema.columns["d:x"] == pa.float64()
    assert schema.stored["d:x"] == ("double", "long", "boolean")
    with pytest.raises(TableRefused, match="no schema row"):
        find_schema(ZTF, {EARLIER: {"d:x": "long"}}, CATALOGUE)
