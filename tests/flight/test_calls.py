"""The Flight RPCs, as pyarrow's client sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from alert_data import NEWEST, TDE
from archives import Opened, ask, digest, read

from flight_server.catalog.catalog import load_catalog
from flight_server.execution.digests import Digest

CURVE = ["i:jd", "i:fid", "i:magpsf"]


def command(**fields: object) -> fl.FlightDescriptor:
    return fl.FlightDescriptor.for_command(json.dumps(fields))


@pytest.mark.both_stores
def test_an_object_comes_with_its_columns_in_the_order_asked(client: fl.FlightClient) -> None:
    answered = ask(client, table="ztf", ids=["ZTF20abfcszi"], columns=["i:magpsf", "i:jd", "d:cdsxmatch", "i:candid"])
    assert answered.table.schema.names == ["i:magpsf", "i:jd", "d:cdsxmatch", "i:candid"]
    assert [str(field.type) for field in answered.table.schema] == ["float", "double", "string", "int64"]
    times = answered.table["i:jd"].to_pylist()
    assert times == sorted(times)
    assert len(times) == 21


def test_the_record_at_the_end_says_what_the_answer_is(client: fl.FlightClient) -> None:
    answered = ask(client, table="ztf", ids=["nobody", "ZTF20abfcszi", "none"], columns=CURVE)
    assert answered.messages[-1][0] == 0, "the record travels with a batch of zero rows"
    as_of = answered.record.pop("as_of")
    assert 1_600_000_000_000 < as_of < 4_000_000_000_000
    assert answered.record == {
        "complete": True,
        "rows": 21,
        "objects": 1,
        "missing": 2,
        "missing_ids": ["nobody", "none"],
        "failed_cutouts": [],
        "missing_cutouts": 0,
        "cutout_errors": {},
        "cutout_bytes_read": 0,
        "cursor": None,
    }


def test_data_messages_are_numbered_and_carry_a_cursor(client: fl.FlightClient) -> None:
    answered = ask(client, table="ztf", all=True, cutouts=["Science", "Template", "Difference"])
    data = [metadata for rows, metadata in answered.messages if rows]
    assert [metadata["seq"] for metadata in data] == list(range(len(data)))
    assert len(data) > 2
    assert all(set(metadata) == {"seq", "cursor"} and metadata["cursor"] for metadata in data)
    assert len({metadata["cursor"] for metadata in data}) == len(data)


@pytest.mark.both_stores
def test_a_repeated_id_counts_once_and_a_limit_is_said_aloud(client: fl.FlightClient) -> None:
    answered = ask(client, table="ztf", ids=["ZTF20abfcszi", "ZTF20abfcszi"], columns=CURVE)
    assert answered.record["rows"] == 21
    for limit, complete in ((20, False), (21, True), (22, True)):
        limited = ask(client, table="ztf", ids=["ZTF20abfcszi"], columns=CURVE, limit=limit)
        assert limited.record["rows"] == len(limited.table) == min(limit, 21)
        assert limited.record["complete"] is complete
        assert (limited.record["cursor"] is None) is complete
        assert limited.table.equals(answered.table.slice(0, limit))


@pytest.mark.both_stores
def test_start_is_inclusive_and_stop_exclusive(client: fl.FlightClient) -> None:
    whole = ask(client, table="ztf", ids=["ZTF20abfcszi"], columns=["i:jd"]).table["i:jd"].to_pylist()
    first, last = whole[3], whole[10]
    for start, stop in ((first, last), (first - 2_400_000.5, last)):
        found = ask(client, table="ztf", ids=["ZTF20abfcszi"], columns=["i:jd"], start=start, stop=stop)
        wanted = [jd for jd in whole if (start if start > 2.4e6 else start + 2_400_000.5) <= jd < stop]
        assert found.table["i:jd"].to_pylist() == wanted
    by_text = ask(client, table="ztf", ids=["ZTF20abfcszi"], columns=["i:magpsf"], start="2020-08-20", stop="2020-08-31 12:00")
    assert by_text.record["rows"] == sum(2459081.5 <= jd < 2459093.0 for jd in whole) > 0
    assert by_text.table.schema.names == ["i:magpsf"], "the time column is not added to the answer"
    assert ask(client, table="ztf", ids=["ZTF20abfcszi"], start=first, stop=first).record["missing_ids"] == ["ZTF20abfcszi"]


@pytest.mark.both_stores
def test_upper_limits_stand_among_the_alerts_by_time(client: fl.FlightClient) -> None:
    everything = ask(client, table="ztf", all=True, columns=["i:objectId", "i:jd", "i:magpsf", "i:diffmaglim"], upper_limits=True)
    rows = everything.table.to_pylist()
    assert everything.table.schema.names[-1] == "d:tag"
    assert {row["d:tag"] for row in rows} == {"valid", "upperlim", "badquality"}
    assert all((row["i:magpsf"] is None) == (row["d:tag"] == "upperlim") for row in rows)
    assert [(row["i:objectId"], row["i:jd"]) for row in rows] == sorted((row["i:objectId"], row["i:jd"]) for row in rows)
    valid = {(row["i:objectId"], row["i:jd"]) for row in rows if row["d:tag"] == "valid"}
    assert not valid & {(row["i:objectId"], row["i:jd"]) for row in rows if row["d:tag"] == "badquality"}
    counts = {name: ask(client, table=name, all=True).record["rows"] for name in ("ztf", "ztf.upper", "ztf.uppervalid")}
    bad = ask(client, table="ztf.uppervalid", all=True).table.to_pylist()
    hidden = sum((row["i:objectId"], row["i:jd"]) in valid for row in bad)
    assert len(rows) == sum(counts.values()) - hidden
    ids = list(dict.fromkeys(row["i:objectId"] for row in rows))
    by_ids = ask(client, table="ztf", ids=ids, columns=["i:objectId", "i:jd", "i:magpsf", "i:diffmaglim"], upper_limits=True)
    assert by_ids.table.equals(everything.table)
    tagged = ask(client, table="ztf", ids=ids[:2], columns=["d:tag", "i:fid"], upper_limits=True)
    assert tagged.table.schema.names == ["d:tag", "i:fid"]


@pytest.mark.both_stores
def test_the_schema_never_depends_on_the_rows(client: fl.FlightClient) -> None:
    for fields in ({}, {"columns": CURVE}, {"cutouts": ["Science"]}, {"upper_limits": True}):
        some = ask(client, table="ztf", ids=["ZTF20abfcszi"], **fields).table.schema
        none = ask(client, table="ztf", ids=["nobody"], **fields).table.schema
        assert some.equals(none, check_metadata=True)
        described = client.get_schema(command(table="ztf", ids=["nobody"], **fields)).schema
        planned = client.get_flight_info(command(table="ztf", ids=["nobody"], **fields)).schema
        assert described.equals(some, check_metadata=True)
        assert planned.equals(some, check_metadata=True)


def test_fields_say_what_they_are(client: fl.FlightClient) -> None:
    schema = client.get_schema(fl.FlightDescriptor.for_path("ztf")).schema
    for field in schema:
        assert {b"unit", b"ucd", b"description", b"origin"} <= set(field.metadata)
        assert field.metadata[b"origin"] in (b"survey", b"broker", b"derived")
    jd = schema.field("i:jd").metadata
    assert jd[b"unit"] == b"d"
    assert jd[b"time_scale"] == b"utc"
    assert jd[b"time_reference"] == b"start of exposure"
    assert schema.field("i:magpsf").metadata[b"unit"] == b"mag"


def test_all_columns_are_the_stored_ones(client: fl.FlightClient) -> None:
    path = client.get_schema(fl.FlightDescriptor.for_path("ztf")).schema
    assert ask(client, table="ztf", ids=["ZTF20abfcszi"], columns=["*"]).table.schema.equals(path, check_metadata=True)
    assert sum(name.startswith("i:") for name in path.names) == 108
    empty = ask(client, table="ztf", ids=["ZTF20abfcszi"], columns=["d:slsn_score"])
    assert empty.table["d:slsn_score"].type == pa.float32()
    assert empty.record["rows"] == empty.table["d:slsn_score"].null_count == 21


@pytest.mark.both_stores
def test_flights_are_the_tables(client: fl.FlightClient, sample: Opened, store_kind: str) -> None:
    flights = {info.descriptor.path[0].decode(): info for info in client.list_flights()}
    # HBase has the tables of the surveys whose alerts came
    tables = load_catalog().surveys["ztf"].tables if store_kind == "hbase" else load_catalog().tables
    assert set(flights) == set(tables) > {"ztf", "ztf.cutouts", "ztf.upper", "ztf.pixel128", "statistics_class"}
    for name, info in flights.items():
        state = sample.archive.states()[name]
        assert (info.total_records, info.total_bytes) == (
            -1 if state.rows is None else state.rows,
            -1 if state.bytes is None else state.bytes,
        )
        assert state.rows in (None, ask(client, table=name, all=True).record["rows"]), "HBase does not know"
        (endpoint,) = info.endpoints
        rows = client.do_get(endpoint.ticket).read_all()
        assert rows.schema.equals(info.schema, check_metadata=True)
        assert digest(rows) == digest(ask(client, table=name, all=True).table)
        assert client.get_flight_info(fl.FlightDescriptor.for_path(name)).schema.equals(info.schema, check_metadata=True)


@pytest.mark.both_stores
def test_a_plan_is_tickets_that_can_be_read_alone(client: fl.FlightClient, store_kind: str) -> None:
    ids = [*(f"none{number}" for number in range(1500)), "ZTF20abfcszi", *(f"more{number}" for number in range(1000))]
    info = client.get_flight_info(command(table="ztf", ids=ids, columns=CURVE))
    assert len(info.endpoints) == 3
    assert info.ordered
    assert info.total_records == (21 if store_kind == "embedded" else -1)
    parts = [read(client.do_get(endpoint.ticket)) for endpoint in info.endpoints]
    whole = ask(client, table="ztf", ids=ids, columns=CURVE)
    assert pa.concat_tables([part.table for part in parts]).equals(whole.table)
    assert [name for part in parts for name in part.record["missing_ids"]] == whole.record["missing_ids"]
    assert len(client.get_flight_info(command(table="ztf", ids=ids, columns=CURVE, limit=5)).endpoints) == 1


@pytest.mark.both_stores
def test_many_missing_ids_are_all_listed(client: fl.FlightClient) -> None:
    ids = [f"ZTF99{number:06d}{'x' * 30}" for number in range(10_000)]
    answered = ask(client, table="ztf", ids=[*ids[:5000], "ZTF20abfcszi", *ids[5000:]], columns=CURVE)
    assert answered.record["rows"] == 21
    assert answered.record["missing"] == 10_000
    notes = [metadata["missing_ids"] for rows, metadata in answered.messages[:-1] if not rows and "missing_ids" in metadata]
    assert len(notes) > 1
    assert [name for note in notes for name in note] + answered.record["missing_ids"] == ids


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_compression_changes_the_wire_not_the_rows(client: fl.FlightClient, compression: str) -> None:
    plain = ask(client, table="ztf", all=True, digest=True)
    packed = ask(client, table="ztf", all=True, digest=True, compression=compression)
    assert packed.record["digest"] == plain.record["digest"] == digest(packed.table)


def test_the_digest_is_that_of_the_rows_however_they_were_cut(client: fl.FlightClient) -> None:
    wide = ask(client, table="ztf", all=True, cutouts=["Science"], digest=True)
    narrow = ask(client, table="ztf", all=True, cutouts=["Science"], digest=True, max_message_bytes=60_000)
    assert len(narrow.messages) > 2 * len(wide.messages)
    running = Digest(wide.table.schema)
    for batch in wide.table.to_batches(max_chunksize=7):
        running.update(batch)
    assert wide.record["digest"] == narrow.record["digest"] == running.hexdigest()


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("most", [20_000, 60_000, 300_000, 3_670_016])
def test_messages_are_no_larger_than_asked(client: fl.FlightClient, compression: str, most: int) -> None:
    options = pa.ipc.IpcWriteOptions(compression=None if compression == "none" else compression)
    ids = [f"none{number:08d}" for number in range(2000)]
    for fields in ({"all": True, "columns": ["i:objectId", "i:jd", "i:candid"]}, {"ids": [*ids, "ZTF20abfcszi"]}, {"all": True}):
        ticket = {"table": "ztf", "compression": compression, "max_message_bytes": most, **fields}
        for chunk in client.do_get(fl.Ticket(json.dumps(ticket))):
            sizes = [0]
            packed = pa.BufferOutputStream()
            with pa.ipc.new_stream(packed, chunk.data.schema, options=options) as writer:
                for _ in range(2):  # the first is written with the schema
                    writer.write_batch(chunk.data)
                    sizes.append(packed.tell())
            size = sizes[2] - sizes[1]
            assert size + len(chunk.app_metadata) <= most


@pytest.mark.both_stores
def test_actions(client: fl.FlightClient, store_kind: str) -> None:
    def act(name: str) -> dict:
        (result,) = client.do_action(fl.Action(name, b""))
        return json.loads(result.body.to_pybytes())

    known = {"server-info", "health", "tables", "schema", "refresh-schema", "estimate", "exchange-ticket", "CancelFlightInfo"}
    assert {action.type for action in client.list_actions()} == known
    assert act("server-info")["name"] == "alertflight"
    assert act("server-info")["store"] == store_kind
    absent = ["rubin"] if store_kind == "hbase" else []  # there are the tables of the surveys whose alerts came
    states = {name: "table_refused" if table["survey"] in absent else "ok" for name, table in act("tables").items()}
    health = {"status": "serving", "tables": states, "faults": {}, "left_out": {}}
    health |= {"refused_columns": {}, "outages": [], "absent_surveys": absent}
    assert act("health") == act("refresh-schema") == health
    ztf = act("tables")["ztf"]
    assert ztf["columns"] > 108
    if store_kind == "embedded":
        assert ztf["rows"] == 108
        assert ztf["first"] < ztf["last"]
    else:
        assert {ztf[name] for name in ("rows", "bytes", "first", "last", "written")} == {None}, "HBase does not know"


def test_an_empty_archive_answers_with_types(open_store: Callable[..., Opened], serve: Callable[..., fl.FlightClient]) -> None:
    client = serve(open_store())
    answered = ask(client, table="ztf", ids=["ZTF20abfcszi"], cutouts=["Science"], upper_limits=True)
    assert answered.record["missing_ids"] == ["ZTF20abfcszi"]
    assert answered.table.schema.field("i:candid").type == pa.int64()
    assert ask(client, table="ztf.upper", all=True).record["rows"] == 0


@pytest.mark.both_stores
def test_a_running_server_sees_new_alerts(open_store: Callable[..., Opened], serve: Callable[..., fl.FlightClient]) -> None:
    opened = open_store()
    opened.ingest(NEWEST)
    client = serve(opened)
    assert ask(client, table="ztf", ids=["ZTF20abfcszi"]).record["rows"] == 0
    opened.ingest(TDE)
    assert ask(client, table="ztf", ids=["ZTF20abfcszi"]).record["rows"] == 21


def test_more_streams_than_allowed_are_sent_away(
    open_store: Callable[..., Opened], serve: Callable[..., fl.FlightClient], tmp_path: Path
) -> None:
    table = pq.ParquetFile(TDE).read()
    place = table.column_names.index("objectId")
    copies = [table.set_column(place, "objectId", pa.array([f"ZTF{number}"] * 21)) for number in range(40)]
    pq.write_table(pa.concat_tables(copies), tmp_path / "many.parquet")
    opened = open_store()
    opened.ingest(tmp_path / "many.parquet")
    client = serve(opened, limits=replace(opened.settings.limits, streams=1))
    # 35 MB: more than the transport takes in advance, so the stream stays open
    ticket = {"table": "ztf", "all": True, "columns": CURVE, "cutouts": ["Science", "Template", "Difference"]}
    held = client.do_get(fl.Ticket(json.dumps(ticket)))
    first = held.read_chunk()
    with pytest.raises(fl.FlightUnavailableError) as caught:
        ask(client, table="ztf", ids=["ZTF0"])
    info = json.loads(caught.value.extra_info)
    assert info["code"] == "overloaded"
    assert info["retry"] == "here"
    assert info["retry_after_ms"] == 1000
    assert len(first.data) + read(held).table.num_rows == 840
    assert ask(client, table="ztf", ids=["ZTF0"]).record["rows"] == 21
