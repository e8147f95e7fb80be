import pyarrow as pa
import pytest

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.columns import TYPES
from flight_server.protocol.errors import UnknownColumn, UnknownTable
from flight_server.settings.resources import load_folder
from flight_server.storage.keys import key_expression

CATALOGUE = load_catalog()
ZTF = CATALOGUE.table("ztf")
COLUMNS = [
    (declared["survey"], name, words) for declared in load_folder("columns") for name, words in declared["columns"].items()
]


def test_every_packaged_column_has_a_known_type_and_meaning():
    for survey, name, words in COLUMNS:
        assert words["type"] in TYPES, name
        assert words["description"], name
        assert words["origin"] in {"survey", "broker", "derived"}, name
        assert CATALOGUE.known[survey][name].type == TYPES[words["type"]], name
        assert name.partition(":")[0] in {"i", "d", "r", "f", "v", "b", "basic", "class"}, name


def test_ztf_has_the_108_fields_of_the_survey_and_the_stamps():
    names = [name for survey, name, _ in COLUMNS if survey == "ztf"]
    assert sum(name.startswith("i:") for name in names) == 108
    assert {f"b:cutout{kind}_stampData" for kind in ("Science", "Template", "Difference")} <= set(names)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("i:objectId", pa.string()),
        ("i:candid", pa.int64()),
        ("i:jd", pa.float64()),
        ("i:fid", pa.int32()),
        ("i:magpsf", pa.float32()),
        ("i:ra", pa.float64()),
    ],
)
def test_the_types_are_those_of_the_avro_schema(name, kind):
    assert CATALOGUE.column(ZTF, name).type == kind


@pytest.mark.parametrize("table", CATALOGUE.tables.values(), ids=lambda table: table.name)
def test_all_columns_that_a_table_names_are_known(table):
    known = CATALOGUE.described(table)
    made = {"alias", "duplicate"} if table.aliases else set()
    names = {*key_expression(table.key).inputs, *(table.columns or ()), *table.without, *table.latest, *table.aliases} - made
    names |= table.where.columns() if table.where else set()
    assert names <= set(known)
    # the tables of a survey share these, so that no table has them in its own way
    assert {table.id, table.time} - {None} <= set(CATALOGUE.known[table.survey])
    assert table.time is None or known[table.time].time_scale


def test_fields_carry_what_columns_mean():
    metadata = CATALOGUE.column(ZTF, "i:jd").field().metadata
    assert set(metadata) == {b"unit", b"ucd", b"description", b"origin", b"time_scale", b"time_reference"}
    assert (metadata[b"unit"], metadata[b"time_scale"], metadata[b"origin"]) == (b"d", b"utc", b"survey")
    assert set(CATALOGUE.column(ZTF, "i:fid").field().metadata) == {b"unit", b"ucd", b"description", b"origin"}


@pytest.mark.parametrize(
    ("name", "near"),
    [("zft", "ztf"), ("ztf.uper", "ztf.upper"), ("ztf_cutouts", "ztf.cutouts"), ("", "ztf"), ("quite another", "ztf")],
)
def test_an_unknown_table_names_near_ones(name, near):
    with pytest.raises(UnknownTable) as caught:
        CATALOGUE.table(name)
    assert (caught.value.field, caught.value.value) == ("table", name)
    assert near in caught.value.message


@pytest.mark.parametrize(
    ("table", "name", "near"),
    [
        ("ztf", "i:magpfs", "i:magpsf"),
        ("ztf", "magpsf", "i:magpsf"),
        ("ztf", "i:JD", "i:jd"),
        ("ztf.upper", "i:diffmaglin", "i:diffmaglim"),
    ],
)
def test_an_unknown_column_names_near_ones(table, name, near):
    with pytest.raises(UnknownColumn) as caught:
        CATALOGUE.column(CATALOGUE.table(table), name)
    assert (caught.value.field, caught.value.value) == ("columns", name)
    assert near in caught.value.message
    assert f"{table} has no column {name!r}" in caught.value.message


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("ztf", "*"),
        ("ztf", ""),
        ("ztf", "i:" + "x" * 1000),
        ("ztf", "d:hdfs_path"),
        ("ztf", "b:cutoutScience_stampData"),
        ("ztf.upper", "i:magpsf"),
        ("ztf.upper", "d:tns"),
    ],
    ids=lambda v: v[:20],
)
def test_a_column_of_another_table_is_unknown(table, name):
    with pytest.raises(UnknownColumn) as caught:
        CATALOGUE.column(CATALOGUE.table(table), name)
    assert len(caught.value.message) < 300


def test_the_schema_is_there_before_any_row_and_grows_with_the_store():
    always = list(CATALOGUE.stored_columns(ZTF))
    assert len(always) == 108
    assert all(name.startswith("i:") for name in always)
    grown = CATALOGUE.with_stored({"ztf": {"d:new": pa.int64(), "d:tns": pa.float64(), "i:jd": pa.string()}})
    columns = grown.stored_columns(ZTF)
    assert list(columns) == [*always, "d:tns", "d:new"]
    assert columns["d:tns"].type == pa.string()  # the catalog's type stands over the file's
    assert columns["i:jd"].type == pa.float64()
    assert (grown.column(ZTF, "d:new").type, grown.type_of(ZTF, "d:new"), grown.type_of(ZTF, "d:other")) == (
        pa.int64(),
        pa.int64(),
        None,
    )
    assert list(CATALOGUE.stored_columns(ZTF)) == always


def test_columns_come_in_the_order_asked():
    assert [column.name for column in CATALOGUE.columns(ZTF, ["i:jd", "d:tns", "i:candid"])] == ["i:jd", "d:tns", "i:candid"]
    assert [column.name for column in CATALOGUE.columns(CATALOGUE.table("ztf.upper"), None)] == [
        "i:objectId",
        "i:jd",
        "i:fid",
        "i:diffmaglim",
    ]
