"""do_exchange: IDs or cones in, rows out in the same order, each with the number of the row that it answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from alert_data import SAMPLES
from archives import Opened, ask, digest, read
from exchanges import command, exchange, of
from slow_stores import pausing

from flight_server.flight import pump
from flight_server.protocol.errors import from_info

TDE = "ZTF20abfcszi"
COLUMNS = ["i:objectId", "i:jd", "i:magpsf"]


@pytest.fixture(scope="module")
def names(sample: Opened) -> list[str]:
    from archives import messages

    from flight_server.protocol.query import Query

    return list(messages(sample, Query(table="ztf", all=True, columns=("i:objectId",))).table[0].unique().to_pylist())


def expected(client: fl.FlightClient, ids: list[str], **fields: Any) -> pa.Table:
    parts = []
    for index, name in enumerate(ids):
        rows = ask(client, ids=[name], **fields).table
        parts.append(rows.add_column(0, "index", pa.array([index] * len(rows), pa.int64())))
    return pa.concat_tables(parts)


@pytest.mark.both_stores
@pytest.mark.parametrize("layout", ["rows", "nested"])
def test_every_row_sent_is_answered_in_its_order(client: fl.FlightClient, names: list[str], layout: str) -> None:
    ids = [TDE, "nobody", *names[:30], TDE, TDE, "nobody", names[3]]
    batches = [of(*ids[:7]), of(*ids[7:8]), of(), of(*ids[8:])]
    fields = {"table": "ztf", "columns": COLUMNS, "layout": layout}
    answer = exchange(client, batches, **fields, digest=True)
    wanted = expected(client, ids, **fields)
    assert digest(answer.table) == digest(wanted) == answer.record["digest"]
    assert answer.table.schema.field(0).type == pa.int64()
    record = answer.record
    assert (record["asked"], record["objects"], record["missing"]) == (len(ids), len(ids) - 2, 2)
    assert record["missing_ids"] == ["nobody"]
    assert (record["rows"], record["complete"]) == (len(wanted), True)
    if layout == "nested":
        assert record["points"] == pa.compute.sum(pa.compute.list_value_length(wanted["lightcurve"])).as_py()
    told = [metadata["answered"] for rows, metadata in answer.messages if rows]
    assert told == sorted(told)


@pytest.mark.both_stores
def test_each_batch_is_answered_before_the_next_is_sent(client: fl.FlightClient, names: list[str]) -> None:
    writer, reader = client.do_exchange(command(table="ztf", columns=COLUMNS))
    writer.begin(pa.schema([("id", pa.string())]))
    for number, name in enumerate(names[:20]):
        writer.write_batch(of(name))
        rows = reader.read_chunk().data
        assert set(rows["index"].to_pylist()) == {number}
        assert set(rows["i:objectId"].to_pylist()) == {name}
    writer.done_writing()
    assert json.loads(reader.read_chunk().app_metadata.to_pybytes())["asked"] == 20
    writer.close()


@pytest.mark.both_stores
def test_cones_are_answered_one_by_one(client: fl.FlightClient) -> None:
    places = ask(client, table="ztf.pixel128", all=True, columns=["i:ra", "i:dec"]).table.slice(0, 12)
    ra, dec = places["i:ra"].to_pylist(), places["i:dec"].to_pylist()
    ra[3], dec[3] = 10.0, -89.0  # where nothing is
    fields: dict[str, Any] = {"table": "ztf", "columns": [*COLUMNS, "v:separation_degree"]}
    sent = pa.record_batch({"ra": ra, "dec": dec, "radius": [30.0] * 12})
    answer = exchange(client, [sent.slice(0, 5), sent.slice(5)], sent.schema, **fields)
    parts = []
    for index, (one, other) in enumerate(zip(ra, dec, strict=True)):
        rows = ask(client, cone={"ra": one, "dec": other, "radius": 30.0}, **fields).table
        parts.append(rows.add_column(0, "index", pa.array([index] * len(rows), pa.int64())))
    assert digest(answer.table) == digest(pa.concat_tables(parts))
    assert (answer.record["asked"], answer.record["objects"], answer.record["missing"]) == (12, 11, 1)


@pytest.mark.both_stores
def test_stamps_come_beside_the_rows(client: fl.FlightClient) -> None:
    fields: dict[str, Any] = {"table": "ztf", "columns": ["i:candid"], "cutouts": ["Science"]}
    answer = exchange(client, [of(TDE, "nobody", TDE)], **fields)
    once = ask(client, ids=[TDE], **fields).table
    assert answer.table.drop_columns(["index"]).equals(pa.concat_tables([once, once]))
    assert answer.record["cutout_bytes_read"] > 0


def test_a_client_that_sends_nothing_is_told_so(client: fl.FlightClient) -> None:
    writer, reader = client.do_exchange(command(table="ztf"))
    writer.done_writing()
    with pytest.raises(fl.FlightServerError) as caught:
        read(reader)
    assert json.loads(caught.value.extra_info)["code"] == "invalid_ticket"
    with pytest.raises(fl.FlightError):
        writer.close()


def test_stamps_that_cannot_be_read_are_named(open_store: Callable[..., Opened], serve: Callable[..., fl.FlightClient]) -> None:
    opened = open_store()
    opened.ingest(SAMPLES)
    for block in opened.settings.folder.rglob("*.parquet"):
        block.unlink()
    client = serve(opened)
    fields: dict[str, Any] = {"table": "ztf", "columns": ["i:candid"], "cutouts": ["Science"]}
    alone = ask(client, ids=[TDE], **fields).record
    record = exchange(client, [of("nobody", TDE)], **fields).record
    assert len(record["failed_cutouts"]) == 21
    for name in ("failed_cutouts", "cutout_errors", "missing_cutouts"):
        assert record[name] == alone[name], name


def test_long_work_that_finds_nothing_is_no_standstill(
    sample: Opened, serve: Callable[..., fl.FlightClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "KEEP_ALIVE_SECONDS", 0.05)
    slow = pausing(sample, lambda _: time.sleep(0.1))
    client = hurried(slow, serve, 0.05)
    nowhere = pa.record_batch({"ra": [10.0] * 6, "dec": [-89.0] * 6, "radius": [1.0] * 6})
    answer = exchange(client, [nowhere], nowhere.schema, table="ztf", columns=["i:jd"])
    assert len([1 for rows, said in answer.messages if not rows and not said]) > 1
    assert (answer.record["asked"], answer.record["missing"]) == (6, 6)


BAD: list[tuple[dict[str, Any], pa.RecordBatch, str, str]] = [
    ({"table": "ztf", "ids": ["a"]}, of("a"), "not_supported", "ids"),
    ({"table": "ztf", "limit": 3}, of("a"), "not_supported", "limit"),
    ({"table": "ztf", "resume_after": "x"}, of("a"), "not_supported", "resume_after"),
    ({"table": "ztff"}, of("a"), "unknown_table", "table"),
    ({"table": "ztf", "columns": ["i:jdd"]}, of("a"), "unknown_column", "columns"),
    ({"table": "ztf.class"}, of("a"), "not_supported", "ids"),
    ({"table": "ztf"}, pa.record_batch({"name": ["a"]}), "bad_value", "columns"),
    ({"table": "ztf"}, pa.record_batch({"id": ["a"], "ra": [1.0]}), "bad_value", "columns"),
    ({"table": "ztf"}, pa.record_batch({"id": [1.5]}), "bad_value", "id"),
    ({"table": "ztf"}, pa.record_batch({"id": [1]}), "bad_value", "ids"),
    ({"table": "ztf"}, pa.record_batch({"id": ["a", None]}), "bad_value", "id"),
    ({"table": "ztf"}, pa.record_batch({"ra": ["a"], "dec": [1.0], "radius": [1.0]}), "bad_value", "ra"),
    ({"table": "ztf"}, pa.record_batch({"ra": [1.0], "dec": [100.0], "radius": [1.0]}), "bad_value", "cone.dec"),
    ({"table": "ztf"}, pa.record_batch({"id": ["a"] * 100_001}), "too_large", "id"),
]


@pytest.mark.parametrize(("fields", "batch", "code", "field"), BAD, ids=lambda value: str(value)[:50])
def test_what_cannot_be_answered_is_refused_by_name(
    client: fl.FlightClient, fields: dict[str, Any], batch: pa.RecordBatch, code: str, field: str
) -> None:
    with pytest.raises(fl.FlightError) as caught:
        exchange(client, [batch], batch.schema, **fields)
    said = json.loads(caught.value.extra_info)
    assert (said["code"], said["field"]) == (code, field)


def test_a_client_that_reads_alone_is_told_why_it_is_refused(client: fl.FlightClient) -> None:
    writer, reader = client.do_exchange(command(table="ztff"))
    writer.begin(pa.schema([("id", pa.string())]))
    told = json.loads(reader.read_chunk().app_metadata.to_pybytes())["error"]
    assert (told["code"], told["field"]) == ("unknown_table", "table")
    writer.done_writing()
    with pytest.raises(fl.FlightServerError, match="there is no table 'ztff'"):
        reader.read_chunk()
    with pytest.raises(fl.FlightError):
        writer.close()


def test_a_silent_client_is_told_what_went_wrong(client: fl.FlightClient) -> None:
    writer, reader = client.do_exchange(command(table="ztf", columns=COLUMNS))
    writer.begin(pa.schema([("id", pa.string())]))
    writer.write_batch(pa.record_batch({"id": pa.array([None], pa.string())}))
    chunk = reader.read_chunk()
    told = json.loads(chunk.app_metadata.to_pybytes())["error"]
    assert (len(chunk.data), told["code"], told["field"]) == (0, "bad_value", "id")
    writer.done_writing()
    with pytest.raises(fl.FlightError) as caught:
        reader.read_chunk()
    assert json.loads(caught.value.extra_info) == told
    with pytest.raises(fl.FlightError):
        writer.close()


def thousands(count: int, each: int = 10_000) -> Iterator[pa.RecordBatch]:
    for first in range(0, count, each):
        yield of(*([TDE] + [f"none{number}" for number in range(first + 1, first + each)]))


def hurried(opened: Opened, serve: Callable[..., fl.FlightClient], seconds: float) -> fl.FlightClient:
    return serve(opened, limits=replace(opened.settings.limits, stall_seconds=seconds))


def test_a_client_that_writes_all_before_it_reads_is_ended(sample: Opened, serve: Callable[..., fl.FlightClient]) -> None:
    """Its rows fill all buffers on the way, so that neither side can move."""
    client = hurried(sample, serve, 1.0)
    writer, reader = client.do_exchange(command(table="ztf"))
    try:
        writer.begin(pa.schema([("id", pa.string())]))
        # much more than the buffers on the way hold
        batch = of(*[f"{'x' * 60}{number}" for number in range(9_000)], *[TDE] * 1_000)
        for _ in range(80):
            writer.write_batch(batch)
        writer.done_writing()
        with pytest.raises(fl.FlightTimedOutError) as caught:
            while True:
                reader.read_chunk()
        assert json.loads(caught.value.extra_info)["code"] == "deadline"
        with pytest.raises(fl.FlightError):
            writer.close()
    finally:
        reader.cancel()
    assert ask(client, table="ztf", ids=[TDE]).record["rows"] == 21


def test_an_idle_client_is_told_that_its_time_is_over(sample: Opened, serve: Callable[..., fl.FlightClient]) -> None:
    client = hurried(sample, serve, 0.5)
    writer, reader = client.do_exchange(command(table="ztf", columns=COLUMNS))
    writer.begin(pa.schema([("id", pa.string())]))
    writer.write_batch(of(TDE))
    assert len(reader.read_chunk().data) == 21
    told = json.loads(reader.read_chunk().app_metadata.to_pybytes())["error"]
    assert told["code"] == "deadline"
    assert from_info(json.dumps(told)) is not None
    writer.done_writing()
    with pytest.raises(fl.FlightTimedOutError):
        reader.read_chunk()
    with pytest.raises(fl.FlightError):
        writer.close()


def test_more_than_are_read_ahead_pass(client: fl.FlightClient) -> None:
    answer = exchange(client, thousands(300_000), table="ztf", columns=["i:jd"])
    assert answer.record["asked"] == 300_000
    assert answer.record["rows"] == len(answer.table) == 30 * 21
    assert sorted(set(answer.table["index"].to_pylist())) == list(range(0, 300_000, 10_000))
    assert len(answer.missing) == 300_000 - 30


def test_clients_that_hang_up_leave_a_server_that_answers(client: fl.FlightClient, server: Any) -> None:
    for number in range(30):
        with fl.connect(f"grpc://127.0.0.1:{server.port}") as rude:
            writer, reader = rude.do_exchange(command(table="ztf", columns=COLUMNS))
            writer.begin(pa.schema([("id", pa.string())]))
            writer.write_batch(of(*[TDE] * (1 + number * 50)))
            if number % 3:
                reader.read_chunk()
            if number % 2:
                reader.cancel()
    assert ask(client, table="ztf", ids=[TDE]).record["rows"] == 21
