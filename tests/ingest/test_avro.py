"""Avro as surveys and brokers write it: codecs, logical types, unions, missing fields."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from alert_data import MANY_AVRO
from archives import Opened, digest, messages
from avro_packets import packed, read_packets, saved, single_packets, with_added, with_added_raw, without
from click.testing import CliRunner

from flight_server.cli.app import main
from flight_server.ingest.avro_containers import CODECS
from flight_server.protocol.query import Query

Store = Callable[..., Opened]
STAMPS = ("Science", "Template", "Difference")


def rows(opened: Opened, **fields: Any) -> pa.Table:
    return messages(opened, Query(table="ztf", all=True, **fields)).table


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_read(open_store: Store, tmp_path: Path, codec: str) -> None:
    schema, alerts = read_packets()
    opened, plain = open_store("packed"), open_store("plain")
    assert opened.ingest(saved(packed(schema, alerts, codec), tmp_path / "a.avro")).alerts == 11
    plain.ingest(MANY_AVRO)
    assert digest(rows(opened, cutouts=STAMPS)) == digest(rows(plain, cutouts=STAMPS))


def test_a_codec_that_is_not_known_is_named(open_store: Store, tmp_path: Path) -> None:
    schema, alerts = read_packets()
    content = packed(schema, alerts, "deflate").replace(b"\x0edeflate", b"\x0ebrotli9", 1)
    file = saved(content, tmp_path / "a.avro")
    failure = open_store().ingest(file).failures[file]
    assert "the codec 'brotli9' of this Avro file cannot be read: write it with null, deflate" in failure


LONG = {"type": "long"}
BYTES = {"type": "bytes"}
ENUM = {"type": "enum", "name": "kind", "symbols": ["GOOD", "BAD"]}
WHEN = dt.datetime(2024, 1, 2, 3, 4, 5, 678000)
TEXT = pa.string()


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"logicalType": "decimal", "precision": precision, "scale": scale}


def fixed(name: str) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": 12}


# of each type one value, and what is stored of it
TYPES: dict[str, tuple[Any, Any, pa.DataType, Any]] = {
    "date": ({"type": "int", "logicalType": "date"}, WHEN.date(), TEXT, "2024-01-02"),
    "time-millis": ({"type": "int", "logicalType": "time-millis"}, dt.time(1, 2), TEXT, "01:02:00.000000"),
    "time-micros": ({"type": "long", "logicalType": "time-micros"}, dt.time(1, 2, 3, 4), TEXT, "01:02:03.000004"),
    "timestamp-millis": (LONG | {"logicalType": "timestamp-millis"}, WHEN.replace(tzinfo=dt.UTC), TEXT, f"{WHEN}Z"),
    "timestamp-micros": (LONG | {"logicalType": "timestamp-micros"}, WHEN.replace(tzinfo=dt.UTC), TEXT, f"{WHEN}Z"),
    "timestamp-nanos": (LONG | {"logicalType": "timestamp-nanos"}, 1, TEXT, "1970-01-01 00:00:00.000000001Z"),
    "local-timestamp-millis": (LONG | {"logicalType": "local-timestamp-millis"}, WHEN, TEXT, str(WHEN)),
    "local-timestamp-micros": (LONG | {"logicalType": "local-timestamp-micros"}, WHEN, TEXT, str(WHEN)),
    "local-timestamp-nanos": (LONG | {"logicalType": "local-timestamp-nanos"}, 1, TEXT, "1970-01-01 00:00:00.000000001"),
    "decimal": (BYTES | decimal(9, 2), Decimal("-1.25"), pa.float64(), -1.25),
    "fixed decimal": (fixed("few") | decimal(20, 1), Decimal("1234567890123456789.5"), TEXT, "1234567890123456789.5"),
    "very long decimal": (BYTES | decimal(50, 0), Decimal(10**49 + 1), TEXT, str(10**49 + 1)),
    "uuid": ({"type": "string", "logicalType": "uuid"}, uuid.UUID(int=1), TEXT, str(uuid.UUID(int=1))),
    "fixed uuid": ({"type": "fixed", "name": "u", "size": 16, "logicalType": "uuid"}, bytes(16), TEXT, str(uuid.UUID(int=0))),
    "duration": (fixed("span") | {"logicalType": "duration"}, bytes([1, 0, 0, 0, 2, 0, 0, 0, 0xDC, 5, 0, 0]), TEXT, "P1M2DT1.5S"),
    "unknown logical type": (LONG | {"logicalType": "parsecs"}, 7, pa.int64(), 7),
    "enum": (ENUM, "BAD", TEXT, "BAD"),
    "fixed": (fixed("twelve"), b"123456789012", pa.binary(), b"123456789012"),
    "int and long": (["null", "int", "long"], 2**40, pa.int64(), 2**40),
    "float and double": (["null", "float", "double"], 0.1, pa.float64(), 0.1),
    "int and double": (["double", "int"], 3, pa.float64(), 3.0),
    "long and float": (["null", "long", "float"], 2**53, pa.float64(), 2.0**53),
    "boolean and int": (["boolean", "int"], 5, pa.int32(), 5),
    "number and text": (["null", "float", "string"], 0.1, TEXT, "0.1"),
    "text and number": (["null", "double", "string"], "none", TEXT, "none"),
    "text and long": (["string", "long"], 2**60 + 1, TEXT, str(2**60 + 1)),
    "text and flag": (["string", "boolean"], True, TEXT, "true"),
    "text and date": (["string", {"type": "int", "logicalType": "date"}], WHEN.date(), TEXT, "2024-01-02"),
    "text and enum": (["null", "string", "kind"], "GOOD", TEXT, "GOOD"),
    "decimal and long": (["long", BYTES | decimal(9, 2)], Decimal("1.50"), TEXT, "1.5"),
    "bytes and fixed": (["bytes", "twelve"], b"1", pa.binary(), b"1"),
}  # fmt: skip


def test_every_type_is_read(open_store: Store, tmp_path: Path) -> None:
    kinds = {f"added_{number}": kind for number, (kind, *_) in enumerate(TYPES.values())}
    values = {f"added_{number}": value for number, (_, value, *_) in enumerate(TYPES.values())}
    opened = open_store()
    report = opened.ingest(saved(with_added(kinds, values), tmp_path / "a.avro"))
    assert (report.alerts, report.failures, report.unreadable) == (11, {}, {})
    found = rows(opened, columns=tuple(f"d:{name}" for name in kinds))
    for column, (name, (*_, stored, expected)) in zip(found.columns, TYPES.items(), strict=True):
        assert (name, column.type, column.to_pylist()) == (name, stored, [expected] * 11)


def test_a_type_within_a_type_is_that_type(open_store: Store, tmp_path: Path) -> None:
    opened = open_store()
    content = with_added_raw({"type": {"type": "float", "doc": "half"}}, "float", 0.5)
    assert opened.ingest(saved(content, tmp_path / "a.avro")).failures == {}
    assert rows(opened, columns=("d:added",))["d:added"].to_pylist() == [0.5] * 11


def test_a_logical_type_that_is_wrong_is_ignored(open_store: Store, tmp_path: Path) -> None:
    opened = open_store()
    for number, wrong in enumerate(({"precision": 2, "scale": 5}, {"precision": 0}, {}, {"precision": "two"})):
        content = with_added_raw(BYTES | {"logicalType": "decimal"} | wrong, "bytes", b"\1")
        assert opened.ingest(saved(content, tmp_path / f"{number}.avro")).failures == {}
        found = rows(opened, columns=("d:added",))["d:added"]
        assert (found.type, found.to_pylist()) == (pa.binary(), [b"\1"] * 11)
    small = {"type": "fixed", "name": "small", "size": 1} | decimal(9, 0)
    content = with_added_raw(small, {"type": "fixed", "name": "small", "size": 1}, b"\1")
    assert opened.ingest(saved(content, tmp_path / "small.avro")).failures == {}


NODE = {"type": "record", "name": "node", "fields": [{"name": "next", "type": ["null", "node"]}, {"name": "n", "type": "int"}]}
# what is left of the path behind the field, and the reason
UNREADABLE: dict[str, tuple[Any, Any, str, str]] = {
    "union of a record": (["string", NODE], "a", "", "a union of string and node"),
    "union of lists": (["double", {"type": "array", "items": "int"}], 0.5, "", "a union of double and array"),
    "times alike": ([LONG | {"logicalType": "timestamp-millis"}, "int"], 5, "", "a union of timestamp-millis and int"),
    "bytes and text": (["bytes", "string"], b"\xff", "", "a union of bytes and string"),
    "type within itself": (NODE | {"name": "node2", "fields": [{"name": "next", "type": ["null", "node2"]}, NODE["fields"][1]]},
                           {"next": {"next": None, "n": 1}, "n": 2}, ".next", "node2 contains itself"),
    "digits that would be lost": (["long", "double"], 2**53 + 1, "", "9007199254740993"),
}  # fmt: skip
RAW = {
    "digits that no type has": (decimal(90, 0), b"\1", "a decimal of 90 digits"),
    "digits beyond the precision": (decimal(2, 0), b"\x7f\xff", "precision 5"),
}


def test_what_cannot_be_read_costs_the_field_by_name(open_store: Store, tmp_path: Path) -> None:
    kinds = {f"added_{number}": kind for number, (kind, *_) in enumerate(UNREADABLE.values())}
    values = {f"added_{number}": value for number, (_, value, *_) in enumerate(UNREADABLE.values())}
    opened, plain = open_store("odd"), open_store("plain")
    report = opened.ingest(saved(with_added(kinds, values), tmp_path / "a.avro"))
    assert (report.alerts, report.failures) == (11, {})
    expected = {f"added_{number}{path}": reason for number, (*_, path, reason) in enumerate(UNREADABLE.values())}
    assert set(report.unreadable) == set(expected)
    assert {path: why for path, why in report.unreadable.items() if expected[path] not in why} == {}
    plain.ingest(MANY_AVRO)
    assert digest(rows(opened)) == digest(rows(plain))


@pytest.mark.parametrize("name", RAW)
def test_a_decimal_that_cannot_be_read_costs_its_field(open_store: Store, tmp_path: Path, name: str) -> None:
    said, value, reason = RAW[name]
    opened = open_store()
    report = opened.ingest(saved(with_added_raw(BYTES | said, "bytes", value), tmp_path / "a.avro"))
    assert (report.alerts, report.failures, list(report.unreadable)) == (11, {}, ["added"])
    assert reason in report.unreadable["added"]


def test_text_that_is_not_text_costs_its_field_in_its_packet_only(open_store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    for number, content in enumerate(single_packets()):
        odd = content.replace(b"\x10Kulkarni", b"\x10Kulk\xff\xferi") if number == 3 else content
        saved(odd, folder / f"{number}.avro")
    opened = open_store()
    report = opened.ingest(folder)
    assert (report.files, report.alerts, report.failures) == (11, 11, {})
    assert "candidate.programpi" in report.unreadable
    assert rows(opened, columns=("i:programpi",))["i:programpi"].null_count == 1


@pytest.mark.both_stores
def test_packets_without_the_outer_candid_take_that_of_the_candidate(open_store: Store, tmp_path: Path) -> None:
    opened = open_store()
    assert opened.ingest(saved(without("candid"), tmp_path / "a.avro")).alerts == 11
    again = opened.ingest(MANY_AVRO)
    assert again.rows["ztf"] == 0, "the same rows"
    assert rows(opened, cutouts=("Science",))["b:cutoutScience_stampData"].null_count == 0


def test_other_outer_fields_may_be_missing(open_store: Store, tmp_path: Path) -> None:
    outer = [field["name"] for field in read_packets()[0]["fields"]]
    bare = saved(without(*set(outer) - {"objectId", "candidate"}), tmp_path / "bare.avro")
    opened = open_store()
    report = opened.ingest(bare)
    assert (report.alerts, report.failures) == (11, {})
    found = rows(opened, cutouts=("Science",))
    assert found["i:candid"].null_count == 0
    assert found["b:cutoutScience_stampData"].null_count == 11
    for name in ("objectId", "candidate"):
        file = saved(without(name), tmp_path / f"{name}.avro")
        assert "not of a known survey" in opened.ingest(file).failures[file]
    for name in ("prv_candidates", "cutoutTemplate", "schemavsn"):
        assert opened.ingest(saved(without(name), tmp_path / f"{name}.avro")).failures == {}


def test_the_command_names_what_it_left_out(tmp_path: Path) -> None:
    file = saved(with_added({"added": ["string", NODE]}, {"added": "a"}), tmp_path / "a.avro")
    done = CliRunner().invoke(main, ["ingest", str(file), "--data", str(tmp_path / "store")])
    assert done.exit_code == 0
    assert "column left out: added, a union of string and node\n" in done.stderr
