"""A slow store: the client gets keep-alive messages, and the same answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow.flight as fl
import pytest
from archives import Answered, Opened, ask, digest, messages, read
from exchanges import exchange, of
from slow_stores import for_ever, pausing

from flight_client.stream import Stream
from flight_server.execution.archive import Answer, Archive
from flight_server.execution.exchange import Exchange
from flight_server.execution.messages import Message
from flight_server.flight import FlightServer, pump
from flight_server.protocol.errors import DeadlinePassed, StreamCancelled
from flight_server.protocol.query import Query
from flight_server.storage.scans import Scan

NAME = "ZTF20abfcszi"
IDS = ["nobody", "ZTF18abadigg", NAME, "none"]
QUERIES: list[dict[str, Any]] = [
    {"ids": [NAME]},
    {"ids": IDS, "columns": ["i:jd", "i:fid"]},
    {"ids": ["nobody"]},
    {"ids": IDS, "start": 2459080, "columns": ["i:fid"]},
    {"ids": IDS, "stop": 2447893},
    {"ids": IDS, "limit": 7},
    {"ids": IDS, "limit": 21},
    {"ids": IDS, "upper_limits": True, "columns": ["i:jd"]},
    {"ids": IDS, "cutouts": ["Science", "Template"], "cutout_format": "fits"},
    {"ids": IDS, "as_of": 4_102_000_000_000},
    {"all": True},
    {"all": True, "columns": ["i:fid"], "compression": "zstd"},
    {"all": True, "upper_limits": True, "limit": 300},
    {"all": True, "upper_limits": True, "cutouts": ["Difference"]},
]


def without_pauses(answered: Answered) -> list[tuple[int, dict[str, Any]]]:
    return [(rows, metadata) for rows, metadata in answered.messages if metadata]


def query(**fields: Any) -> Query:
    return Query(table="ztf", **{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep-alive messages every few milliseconds."""
    monkeypatch.setattr(pump, "KEEP_ALIVE_SECONDS", 0.01)


@pytest.fixture
def slow(sample: Opened, serve: Callable[..., fl.FlightClient]) -> fl.FlightClient:
    return serve(pausing(sample))


@pytest.mark.both_stores(0, 3, 7, 13)
@pytest.mark.parametrize("fields", QUERIES, ids=str)
def test_the_answer_is_the_same_with_pauses_in_it(client: fl.FlightClient, slow: fl.FlightClient, fields: dict[str, Any]) -> None:
    quick, paused = (ask(one, table="ztf", digest=True, **fields) for one in (client, slow))
    assert len(without_pauses(paused)) < len(paused.messages)
    assert all(rows == 0 for rows, metadata in paused.messages if not metadata)
    assert digest(paused.table) == digest(quick.table)
    for record in (paused.record, quick.record):
        record.pop("cutout_bytes_read")  # cutouts are read for the rows that come together
        record.pop("as_of")  # HBase is read as it is at the moment
    assert paused.record == quick.record
    assert paused.table.schema.equals(quick.table.schema, check_metadata=True)
    data = [metadata["seq"] for rows, metadata in paused.messages if rows]
    assert data == list(range(len(data)))


def test_looking_for_missing_ids_before_the_cursor_pauses_too(sample: Opened, slow: fl.FlightClient) -> None:
    *_, cursor = (metadata["cursor"] for rows, metadata in messages(sample, query(ids=IDS)).messages if rows)
    rest = ask(slow, table="ztf", ids=IDS, resume_after=cursor)
    assert len(without_pauses(rest)) < len(rest.messages)
    assert rest.missing == ["nobody", "none"]


def test_the_client_library_and_read_all_pass_over_pauses(sample: Opened) -> None:
    opened = pausing(sample)
    with FlightServer(opened.archive, opened.settings) as server:
        url = f"grpc://127.0.0.1:{server.port}"
        with fl.connect(url) as client:
            assert client.do_get(fl.Ticket(query(ids=IDS).to_json())).read_all().num_rows == 22
        stream = Stream(url, query(ids=IDS))
        batches = list(stream)
        stream.close()
    assert sum(map(len, batches)) == stream.record["rows"] == 22
    assert all(len(batch) for batch in batches)
    assert stream.missing_ids == ["nobody", "none"]


@pytest.mark.both_stores(1, 4, 5)
@pytest.mark.parametrize(
    "fields",
    [
        {"ids": [NAME]},
        {"ids": IDS},
        {"all": True},
        {"ids": [NAME], "upper_limits": True},
        {"all": True, "upper_limits": True},
        {"ids": [NAME], "cutouts": ["Science"]},
    ],
    ids=str,
)
def test_a_client_hears_something_while_it_waits(
    sample: Opened, serve: Callable[..., fl.FlightClient], fields: dict[str, Any]
) -> None:
    """The store waits until the client has got a keep-alive, in every scan of the answer."""
    got = threading.Event()

    def pause(scan: Scan) -> None:
        got.clear()
        assert got.wait(60), "the client never heard of it"

    client = serve(pausing(sample, pause))
    chunks = []
    for chunk in client.do_get(fl.Ticket(query(**fields).to_json())):
        chunks.append(chunk)
        if not chunk.app_metadata:
            assert len(chunk.data) == 0
            got.set()
    assert json.loads(chunks[-1].app_metadata.to_pybytes())["complete"]
    assert sum(not chunk.app_metadata for chunk in chunks) > 1


def test_nothing_comes_behind_the_record(
    sample: Opened, serve: Callable[..., fl.FlightClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an answer has to do after its record takes long, such as to close files on a busy machine."""
    begin, end = Archive.answer, Exchange.end

    def slowly(messages: Iterator[Message]) -> Iterator[Message]:
        yield from messages
        time.sleep(0.3)

    def answer(self: Archive, *words: Any) -> Answer:
        found = begin(self, *words)
        return replace(found, messages=slowly(found.messages), is_quick=False)

    monkeypatch.setattr(Archive, "answer", answer)
    monkeypatch.setattr(Exchange, "end", lambda self: slowly(end(self)))
    client = serve(sample)
    for found in (ask(client, table="ztf", ids=IDS), exchange(client, [of(NAME)], table="ztf", columns=["i:jd"])):
        assert found.messages[-1][1]["complete"]


def test_a_store_that_fails_later_ends_the_stream_with_its_error(sample: Opened, serve: Callable[..., fl.FlightClient]) -> None:
    heard = threading.Event()

    def fail_later(scan: Scan) -> None:
        assert heard.wait(60)
        raise StreamCancelled("enough")

    client = serve(pausing(sample, fail_later))
    reader = client.do_get(fl.Ticket(query(ids=[NAME]).to_json()))
    assert len(reader.read_chunk().data) == 0
    heard.set()
    with pytest.raises(fl.FlightServerError) as caught:
        read(reader)
    assert json.loads(caught.value.extra_info)["code"] == "cancelled"


@pytest.mark.both_stores
def test_a_store_learns_that_the_caller_has_gone(sample: Opened, serve: Callable[..., fl.FlightClient]) -> None:
    learnt = threading.Event()
    asked: list[Scan] = []

    def pause(scan: Scan) -> None:
        asked.append(scan)
        try:
            for_ever(scan)
        except StreamCancelled:
            learnt.set()
            raise

    client = serve(pausing(sample, pause))
    reader = client.do_get(fl.Ticket(query(ids=[NAME]).to_json()))
    assert len(reader.read_chunk().data) == 0
    assert not asked[0].deadline.cancelled()
    reader.cancel()
    assert learnt.wait(60)
    # the call is over or ends now; whoever asks after that is told the same
    assert asked[0].deadline.cancelled()
    client.close()
    assert asked[0].deadline.cancelled()
    assert ask(serve(sample), table="ztf", ids=[NAME]).record["rows"] == 21


@pytest.mark.both_stores
def test_a_store_has_no_more_time_than_the_answer(sample: Opened, serve: Callable[..., fl.FlightClient]) -> None:
    slow = pausing(sample, for_ever, seconds=0.05)
    with pytest.raises(DeadlinePassed):
        messages(slow, query(ids=[NAME]))
    with pytest.raises(fl.FlightTimedOutError):
        ask(serve(slow), table="ztf", ids=[NAME])
