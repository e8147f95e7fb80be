"""Cells and rows that no answer has: those that no schema row names, and rows that describe the table or lack their ID."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pyarrow.flight as fl
import pytest
from archives import ask
from described_tables import NEW, OLD, UPPER, Tables, row
from server_health import health

from flight_server.protocol.errors import UnknownColumn


def test_cells_that_no_schema_row_names_are_left_out_and_counted(tables: Tables, serve: Callable[..., fl.FlightClient]) -> None:
    odd = {"d:odd": "decimal(10,2)", "d:odder": "array<float>"}
    tables.schema({NEW: {"d:score": "float"} | odd, OLD: {"d:odd": "float"}})
    tables.put(
        row("ZTF1", d__score=struct.pack(">f", 1), d__stranger=b"?", i__alien=b"?", d__odd=b"12.50", d__aaa=b"first"),
        row("ZTF2", d__stranger=b"?", d__zzz=b"last"),
    )
    tables.schema({NEW: UPPER}, "ztf.upper")
    tables.put(row("ZTF1", i__fid=struct.pack(">i", 1), i__alien=b"?"), table="ztf.upper")
    client = serve(tables.open())
    assert health(client)["left_out"]["ztf"] == {"d:odd": 0, "d:odder": 0}, "nothing was read yet"
    whole = ask(client, table="ztf", all=True)
    assert whole.record["rows"] == 2
    assert whole.table["d:score"].to_pylist() == [1.0, None]
    assert not {"d:stranger", "i:alien", "d:odd", "d:odder", "d:aaa", "d:zzz"} & set(whole.table.schema.names)
    ask(client, table="ztf", ids=["ZTF2", "ZTF1"])
    ask(client, table="ztf.upper", all=True)
    left_out = health(client)["left_out"]
    counts = {"d:stranger": 4, "i:alien": 2, "d:odd": 2, "d:odder": 0, "d:aaa": 2, "d:zzz": 2}
    assert left_out == {"ztf": counts, "ztf.upper": {"i:alien": 1}}
    assert health(client)["refused_columns"] == {}
    for name in ("d:stranger", "d:odd"):
        with pytest.raises(fl.FlightServerError, match=name):
            ask(client, table="ztf", all=True, columns=[name])


def test_cells_of_older_tables_that_others_have_now_are_not_in_answers(own_tables: Tables) -> None:
    # until 2024 the stamps stood in the main table, in a family that new tables do not have
    tables = own_tables
    tables.admin.create(f"{tables.prefix}ztf", families=("a", "b", "d", "i"))
    tables.schema({NEW: {"d:score": "float"}, OLD: {"b:cutoutScience_stampData": "fits/image", "d:hdfs_path": "string"}})
    stamp = {"b:cutoutScience_stampData": b"old", "a:note": b"hello"}
    tables.put(row(d__score=struct.pack(">f", 1), d__hdfs_path=b"hdfs://old/path", **stamp))
    opened = tables.open()
    found = tables.read(opened=opened)
    assert found["d:score"].to_pylist() == [1.0]
    assert not {"b:cutoutScience_stampData", "d:hdfs_path"} & set(found.schema.names)
    assert opened.archive.left_out() == {}
    with pytest.raises(UnknownColumn):
        tables.read("b:cutoutScience_stampData", opened=opened)


def test_rows_that_describe_the_table_are_never_returned(tables: Tables) -> None:
    tables.schema({NEW: {"d:score": "float"}, OLD: {}, "schema_4.0_6.1.1": {}, "schema": {}, "schemas": {}})
    tables.put(row("ZTF1"), row("zzz"))
    opened = tables.open()
    asked = ("schema_4.0", "schema", "schema_4.0_6.1.1", "ZTF1", "schemas", "zzz")
    for columns in ((), ("i:objectId",), ("d:score",)):
        assert len(tables.read(*columns, opened=opened)) == 2
        assert len(tables.read(*columns, opened=opened, ids=asked)) == 2
        for name in asked:
            assert len(tables.read(*columns, opened=opened, ids=(name,))) == (name in {"ZTF1", "zzz"})
    assert tables.read("i:objectId", opened=opened, limit=2)["i:objectId"].to_pylist() == ["ZTF1", "zzz"]
    assert tables.read("i:objectId", opened=opened, ids=asked)["i:objectId"].to_pylist() == ["ZTF1", "zzz"]


def test_a_row_without_its_id_is_left_out_whatever_is_asked_for(tables: Tables, serve: Callable[..., fl.FlightClient]) -> None:
    tables.schema({NEW: {"d:score": "float", "d:tns": "string"}})
    key, _ = row("ZTF1")
    tables.put((key, {"d:score": struct.pack(">f", 1), "d:tns": b"lost"}), row("ZTF2", d__tns=b"found"))
    opened = tables.open()
    for columns in ((), ("d:score",), ("d:tns",), ("d:tns", "d:score"), ("i:objectId",)):
        for ids in ({}, {"ids": ("ZTF1", "ZTF2")}, {"ids": ("ZTF2",)}):
            found = tables.read(*columns, opened=opened, **ids)
            assert len(found) == 1
            assert found.column(0).null_count == (columns[:1] == ("d:score",))
    assert tables.read("d:tns", opened=opened)["d:tns"].to_pylist() == ["found"]
    assert health(serve(opened))["left_out"]["ztf"] == {"rows without i:objectId": 9}
