"""Schemas from schema rows: releases that disagree, and missing rows."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from alert_data import SAMPLES
from archives import ask
from described_tables import NEW, OLD, UPPER, Tables, double, row
from server_health import health
from waiting import wait_until

from flight_server.protocol.errors import CorruptData, TableRefused, UnknownColumn


def test_columns_are_the_union_of_all_rows_and_the_newest_by_number_has_the_say(tables: Tables) -> None:
    tables.schema(
        {
            NEW: {"d:score": "integer", "d:late": "string"},
            OLD: {"d:score": "long", "d:early": "float"},
            "schema_0.9_9.9": {"d:score": "string", "d:first": "boolean"},
        }
    )
    tables.put(row(d__early=struct.pack(">f", 0.5), d__late=b"x", d__first=b"true", d__score=struct.pack(">q", 7)))
    found = tables.read()
    types = {name: str(found.schema.field(name).type) for name in ("d:score", "d:late", "d:early", "d:first")}
    assert types == {"d:score": "int64", "d:late": "string", "d:early": "float", "d:first": "bool"}
    assert found.select(list(types)).to_pylist() == [{"d:score": 7, "d:late": "x", "d:early": 0.5, "d:first": True}]
    assert tables.read("d:late", "d:score", ids=("ZTF1",)).to_pylist() == [{"d:late": "x", "d:score": 7}]


CASTS = [
    # what the newest row says, what an older one does, a cell as it stands there, what the answer has
    ("long", "integer", struct.pack(">i", -7), -7),
    ("integer", "long", struct.pack(">q", 2**31 - 1), 2**31 - 1),
    ("integer", "short", struct.pack(">h", -300), -300),
    ("short", "short", struct.pack(">h", 12_000), 12_000),
    ("short", "integer", struct.pack(">i", 70_000), 70_000),
    ("long", "string", b"-12", -12),
    ("integer", "double", double(3.0), 3.0),
    ("integer", "boolean", b"true", 1),
    ("double", "boolean", b"false", 0.0),
    ("double", "float", struct.pack(">f", 18.4), struct.unpack(">f", struct.pack(">f", 18.4))[0]),
    ("double", "integer", struct.pack(">i", 5), 5.0),
    ("double", "long", struct.pack(">q", -7), -7.0),
    ("long", "double", double(0.5), 0.5),
    ("float", "integer", struct.pack(">i", 5), 5.0),
    ("integer", "float", struct.pack(">f", 0.5), 0.5),
    ("double", "string", b"2459092.5", 2459092.5),
    ("float", "double", double(0.1), 0.1),
    ("float", "string", b"18.40", struct.unpack("<f", struct.pack("<f", 18.4))[0]),
    ("double", "double", double(math.nan), math.nan),
    ("float", "float", struct.pack(">f", math.nan), math.nan),
    ("float", "float", struct.pack(">f", -0.0), -0.0),
    ("float", "double", double(math.inf), math.inf),
    ("double", "double", double(5e-324), 5e-324),
    ("string", "integer", struct.pack(">i", 42), "42"),
    ("string", "long", struct.pack(">q", -42), "-42"),
    ("string", "float", struct.pack(">f", 18.4), "18.4"),
    ("string", "double", double(2459092.51), "2459092.51"),
    ("string", "double", double(12345678.9), "1.23456789E7"),
    ("string", "integer", b"text", "text"),
    ("string", "string", "\u00e9\u4e2d\U0001f52d".encode(), "\u00e9\u4e2d\U0001f52d"),
    ("string", "string", b"", ""),
    ("boolean", "boolean", b"true", True),
    ("boolean", "boolean", b"false", False),
    ("boolean", "boolean", b"\xff", True),
    ("boolean", "boolean", b"\x00", False),
    ("boolean", "string", b"true", True),
    ("binary", "binary", b"\x00\xff\x80", b"\x00\xff\x80"),
    ("fits/image", "binary", b"\x00\xff", b"\x00\xff"),
]


def test_releases_may_disagree_and_numbers_have_the_widest_type(tables: Tables) -> None:
    names = [f"d:c{number:02d}" for number in range(len(CASTS))]
    tables.schema(
        {
            OLD: dict(zip(names, (case[1] for case in CASTS), strict=True)),
            NEW: dict(zip(names, (case[0] for case in CASTS), strict=True)),
        }
    )
    key, cells = row()
    tables.put((key, cells | dict(zip(names, (case[2] for case in CASTS), strict=True))))
    tables.put(row("ZTF0"), row("ZTF2"))  # nulls around, which must stay so
    kinds = {"string": pa.string(), "integer": pa.int32(), "short": pa.int32(), "long": pa.int64(), "float": pa.float32()}
    kinds |= {"double": pa.float64(), "boolean": pa.bool_(), "binary": pa.binary(), "fits/image": pa.binary()}
    wider = dict.fromkeys([("integer", "double"), ("float", "double"), ("float", "integer"), ("integer", "float")], pa.float64())
    wider |= {("integer", "long"): pa.int64(), ("long", "double"): pa.float64()}
    for columns in ((), tuple(names[:5]), tuple(names)):  # whole families or named cells
        found = tables.read(*columns)
        for name, (newest, older, cell, expected) in zip(names, CASTS, strict=True):
            if columns and name not in columns:
                continue
            assert found.schema.field(name).type == wider.get((newest, older), kinds[newest]), (newest, older)
            before, value, after = found[name].to_pylist()
            assert before is None
            assert after is None
            assert repr(value) == repr(expected), (newest, older, cell)  # tells -0.0 and NaN


def test_types_that_the_catalog_knows_are_the_catalogs(tables: Tables) -> None:
    tables.schema({NEW: {"i:fid": "long", "i:magpsf": "double", "i:candid": "integer"}})
    tables.put(row(i__fid=struct.pack(">q", 2), i__magpsf=double(18.4), i__candid=struct.pack(">i", 99)))
    found = tables.read("i:fid", "i:magpsf", "i:candid")
    assert [str(field.type) for field in found.schema] == ["int32", "float", "int64"]
    assert found.to_pylist() == [{"i:fid": 2, "i:magpsf": struct.unpack("<f", struct.pack("<f", 18.4))[0], "i:candid": 99}]


@pytest.mark.parametrize(
    ("kinds", "cell", "reason"),
    [
        (("double",), b"abc", "3 bytes are no double"),
        (("integer",), struct.pack(">q", 1), "8 bytes are no integer"),
        (("long", "string"), b"twelve", "the text is no number"),
        (("string",), b"\xff\xfe", "no UTF-8 text"),
        (("boolean",), b"maybe", "no boolean"),
        (("boolean",), b"\x07", "no boolean"),
        (("float",), b"", "0 bytes are no float"),
    ],
)
def test_bytes_that_cannot_be_of_their_type_are_an_error_that_names_row_and_column(
    tables: Tables, kinds: tuple[str, ...], cell: bytes, reason: str
) -> None:
    check_misfit(tables, "d:odd", kinds, cell, reason)


@pytest.mark.parametrize(
    ("column", "kinds", "cell", "reason"),
    [
        ("i:fid", ("integer", "long"), struct.pack(">q", 2**31), "2147483648 is no integer of 4 bytes"),
        ("i:fid", ("integer", "double"), double(2.5), "2.5 is no integer"),
        ("i:candid", ("long", "float"), struct.pack(">f", 2.0**63), "no integer of 8 bytes"),
        ("i:fid", ("integer", "double"), double(math.nan), "NaN is no integer"),
    ],
)
def test_the_types_of_the_catalog_do_not_widen(
    tables: Tables, column: str, kinds: tuple[str, ...], cell: bytes, reason: str
) -> None:
    check_misfit(tables, column, kinds, cell, reason)


def check_misfit(tables: Tables, column: str, kinds: tuple[str, ...], cell: bytes, reason: str) -> None:
    tables.schema({f"schema_{9 - age}.0_1.0": {column: kind} for age, kind in enumerate(kinds)})
    tables.put(row("ZTF0"), row(**{column.replace(":", "__"): cell}))
    opened = tables.open()
    for fields in ({"columns": (column,)}, {"ids": ("ZTF0", "ZTF1")}):
        with pytest.raises(CorruptData) as caught:
            tables.read(opened=opened, **fields)
        assert f"row ZTF1_2459000.5, column {column}" in caught.value.message
        assert reason in caught.value.message
    assert len(tables.read("i:jd", opened=opened)) == 2, "what is not asked for is not looked at"
    assert len(tables.read(ids=("ZTF0",), opened=opened)) == 1


def test_a_table_without_a_schema_row_is_refused_by_name_while_others_go_on(
    own_tables: Tables, serve: Callable[..., fl.FlightClient]
) -> None:
    tables = own_tables
    tables.admin.create(*(tables.prefix + name for name in ("ztf", "ztf.upper", "ztf.uppervalid")))
    tables.schema({NEW: UPPER}, "ztf.upper")
    for table in ("ztf", "ztf.upper"):
        tables.put(row("ZTF1"), table=table)
    tables.admin.disable(f"{tables.prefix}ztf.uppervalid")
    client = serve(tables.open())
    assert ask(client, table="ztf.upper", ids=["ZTF1"]).record["rows"] == 1
    said = health(client)
    assert {name for name, state in said["tables"].items() if state != "table_refused"} == {"ztf.upper"}
    reasons = {"ztf": "no schema row", "ztf.cutouts": "does not exist", "ztf.uppervalid": "is disabled"}
    for table, reason in reasons.items():
        assert reason in said["faults"][table]
        with pytest.raises(fl.FlightUnavailableError) as caught:
            ask(client, table=table, ids=["ZTF1"])
        info = json.loads(caught.value.extra_info)
        assert (info["code"], info["value"]) == ("table_refused", table)
        assert reason in info["message"]
        with pytest.raises(fl.FlightUnavailableError, match=reason):
            client.get_flight_info(fl.FlightDescriptor.for_command(json.dumps({"table": table, "all": True})))
    with pytest.raises(fl.FlightUnavailableError, match=r"ztf\.uppervalid|ztf "):
        ask(client, table="ztf", ids=["ZTF1"], upper_limits=True)

    tables.admin.enable(f"{tables.prefix}ztf.uppervalid")
    tables.schema({NEW: {}}, "ztf.uppervalid")
    tables.schema({NEW: {"d:score": "double"}})
    tables.put(row("ZTF1", d__score=double(0.5)))
    served = {"ztf", "ztf.upper", "ztf.uppervalid", "ztf.metadata"}
    wait_until(
        lambda: {name for name, state in health(client)["tables"].items() if state == "ok"} >= served - {"ztf.metadata"},
        "it is looked at them again",
    )
    health(client, "refresh-schema")
    answered = ask(client, table="ztf", ids=["ZTF1"], upper_limits=True)
    assert answered.record["rows"] == 2
    assert answered.table["d:score"].to_pylist().count(0.5) == 1
    tables.schema({"schema_3.11_0.0": {"d:score": "float", "d:new": "string"}})
    health(client, "refresh-schema")
    assert ask(client, table="ztf", ids=["ZTF1"]).table.schema.field("d:score").type == pa.float64(), "cells are doubles"
    assert ask(client, table="ztf", ids=["ZTF1"], columns=["d:new"]).table["d:new"].to_pylist() == [None]


@pytest.mark.parametrize("types", [{"i:objectId": "long"}, {"i:jd": "boolean"}])
def test_a_newest_row_that_contradicts_the_catalog_in_id_or_time_refuses_its_table(tables: Tables, types: dict[str, str]) -> None:
    tables.schema({OLD: {}, NEW: types})
    tables.put(row())
    (column,) = types
    with pytest.raises(TableRefused) as caught:
        tables.read()
    assert NEW in caught.value.message
    assert column in caught.value.message
    assert len(tables.read(opened=tables.open(hbase={"schema": OLD}))) == 1, "an older row may be given the say"


@pytest.mark.parametrize(("column", "kind"), [("i:candid", "double"), ("i:fid", "tinyint"), ("d:cdsxmatch", "long")])
def test_a_newest_row_that_contradicts_the_catalog_elsewhere_costs_the_column(
    tables: Tables, serve: Callable[..., fl.FlightClient], column: str, kind: str
) -> None:
    tables.schema({OLD: {}, NEW: {column: kind, "i:magpsf": "float"}})
    tables.put(row(**{column.replace(":", "__"): double(5.0)}, i__magpsf=struct.pack(">f", 18.5)))
    opened = tables.open()
    found = tables.read(opened=opened)
    assert column not in found.schema.names
    assert found["i:magpsf"].to_pylist() == [18.5]
    with pytest.raises(UnknownColumn, match=f"ztf does not serve {column}: the schema row {NEW} has {column} as {kind}"):
        tables.read(column, opened=opened)
    client = serve(opened)
    assert list(health(client)["refused_columns"]["ztf"]) == [column]
    assert health(client)["tables"]["ztf"] == "ok"
    with pytest.raises(TableRefused, match=column):
        opened.ingest(SAMPLES)
    assert len(tables.read(opened=tables.open(hbase={"schema": OLD}))) == 1, "an older row may be given the say"


def test_text_of_the_length_of_a_number(tables: Tables) -> None:
    tables.schema({OLD: {"i:ra": "string", "i:magpsf": "string"}, NEW: {"i:ra": "double", "i:magpsf": "float"}})
    tables.put(
        row("ZTF1", i__ra=b"150.1234"), row("ZTF2", i__ra=double(150.5)), row("ZTF3", i__ra=b""), row("ZTF4", i__ra=b"7.25")
    )
    tables.put(row("ZTF5", i__ra=b"whatever"), row("ZTF6", i__magpsf=b"18.5"))
    opened = tables.open()
    assert tables.read("i:ra", opened=opened, ids=("ZTF1", "ZTF2", "ZTF3", "ZTF4"))["i:ra"].to_pylist() == [
        150.1234,
        150.5,
        None,
        7.25,
    ]
    for name, column, text in (("ZTF5", "i:ra", "whatever"), ("ZTF6", "i:magpsf", "18.5")):
        with pytest.raises(CorruptData) as caught:
            tables.read(column, opened=opened, ids=(name,))
        assert f"row {name}_2459000.5, column {column}: its bytes are the text {text} as well as" in caught.value.message


def test_a_table_of_text_has_no_schema_row(tables: Tables) -> None:
    opened = tables.open()
    cells = {"d:internal_name": "né".encode(), "d:username": b"me"}
    tables.put((b"ZTF20abfcszi", cells), (b"ZTF20abfcszj", {"d:comments": b"mine"}), table="ztf.metadata")
    for ids in ({"ids": ("ZTF20abfcszi", "ZTF20abfcszj")}, {"all": True}):
        fields = {"table": "ztf.metadata", "all": False, **ids}
        whole = tables.read(opened=opened, **fields).to_pylist()
        assert [row["i:objectId"] for row in whole] == ["ZTF20abfcszi", "ZTF20abfcszj"]
        assert [row["d:internal_name"] for row in whole] == ["né", None]
        for names in (("i:objectId",), ("d:username", "i:objectId"), ("d:comments",)):
            found = tables.read(*names, opened=opened, **fields)
            assert found.to_pylist() == [{name: row[name] for name in names} for row in whole]


def test_an_older_row_may_contradict_the_catalog(tables: Tables) -> None:
    tables.schema({OLD: {"i:magpsf": "string", "i:fid": "string"}, NEW: {"i:magpsf": "float"}})
    tables.put(row("ZTF1", i__magpsf=b"18.25", i__fid=b"2"), row("ZTF2", i__magpsf=struct.pack(">f", 17.5)))
    assert tables.read("i:magpsf")["i:magpsf"].to_pylist() == [18.25, 17.5]


def test_a_schema_row_without_the_columns_of_the_key_refuses_its_table(tables: Tables) -> None:
    tables.admin.put_schema(f"{tables.prefix}ztf", NEW, {"i:objectId": "string", "d:score": "float"})
    with pytest.raises(TableRefused, match="lacks i:jd"):
        tables.read()


def test_the_setting_names_the_row_that_has_the_say(tables: Tables) -> None:
    tables.schema({NEW: {"d:score": "integer"}, OLD: {"d:score": "long", "d:early": "string"}})
    tables.put(row(d__score=struct.pack(">q", 2**40)))
    opened = tables.open(hbase={"schema": OLD})
    assert tables.read("d:score", opened=opened)["d:score"].to_pylist() == [2**40]
    assert tables.read("d:score")["d:score"].to_pylist() == [2**40], "an integer is a long as well"
    with pytest.raises(TableRefused, match=r"no schema row schema_1.0_1.0; it has schema_3.10_1.0.0, schema_3.9_6.1.1"):
        tables.read(opened=tables.open(hbase={"schema": "schema_1.0_1.0"}))


def test_an_ingest_into_tables_of_a_broker_keeps_to_their_schema_rows(tables: Tables) -> None:
    """Old rows stay readable, and new ones are added under the schema row of this release."""
    tables.schema({"schema_0.3_0.3": {"d:score": "float", "i:magpsf": "double"}})
    tables.put(row("ZTF1", d__score=struct.pack(">f", 0.5), i__magpsf=double(17.25)))
    opened = tables.open()
    assert not opened.ingest(SAMPLES).failures
    found = tables.read("i:objectId", "i:magpsf", "d:score", opened=opened)
    assert len(found) == 109
    (held,) = (cells for cells in found.to_pylist() if cells["i:objectId"] == "ZTF1")
    assert held == {"i:objectId": "ZTF1", "i:magpsf": 17.25, "d:score": 0.5}
