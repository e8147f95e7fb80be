"""Broken streams and dead servers: the client gets every row once, or an error."""

from __future__ import annotations

import base64
import json
import pickle
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import Answered, Opened, ask, digest
from cut_proxy import cutting
from served_samples import serving_store

from flight_client.endpoints import Endpoint, Record, Retries, plan, read_endpoint
from flight_client.parallel import Ahead, read_endpoints
from flight_server.flight import FlightServer
from flight_server.protocol.errors import BackendLost, CorruptData, UnknownColumn

WHOLE = {"table": "ztf", "all": True, "max_message_bytes": 32_768}
SOON = Retries(pause=0.001, longest=0.01)


@pytest.fixture
def url(server: FlightServer) -> str:
    return f"grpc://127.0.0.1:{server.port}"


@pytest.fixture
def wanted(client: fl.FlightClient) -> Answered:
    return ask(client, **WHOLE)


def endpoint(*locations: str, **fields: Any) -> Endpoint:
    return Endpoint(json.dumps(fields or WHOLE).encode(), locations)


@pytest.mark.both_stores
def test_an_endpoint_is_read_with_its_cursors_and_goes_on_from_each(url: str, wanted: Answered) -> None:
    pieces = list(read_endpoint(endpoint(url)))
    assert len(pieces) > 3
    assert digest(pa.Table.from_batches([piece.batch for piece in pieces])) == digest(wanted.table)
    for number, piece in enumerate(pieces[:-1]):
        rest = pa.Table.from_batches([one.batch for one in read_endpoint(endpoint(url), resume_after=piece.cursor)])
        before = sum(len(one.batch) for one in pieces[: number + 1])
        assert digest(rest) == digest(wanted.table.slice(before))


def test_a_stream_cut_anywhere_gives_each_row_once(server: FlightServer, wanted: Answered) -> None:
    broken = 0
    size = wanted.table.nbytes
    for share in range(1_000, size, size // 12):
        record = Record()
        with cutting(server.port, share, share) as proxy:
            pieces = [piece.batch for piece in read_endpoint(endpoint(proxy.url), record=record, retries=SOON)]
            assert proxy.cuts == 2
        assert digest(pa.Table.from_batches(pieces)) == digest(wanted.table)
        assert record.rows == len(wanted.table)
        assert record.complete
        broken += record.resumed > 0
    assert broken > 3, "streams broke in the middle"


def test_missing_ids_are_said_once_after_a_break(server: FlightServer, client: fl.FlightClient) -> None:
    ids = sorted(set(ask(client, table="ztf", all=True, columns=["i:objectId"]).table["i:objectId"].to_pylist()))
    ids[10:10] = ["nobody", "no one"]
    asked = {"table": "ztf", "ids": ids, "max_message_bytes": 32_768}
    whole = ask(client, **asked)
    record = Record()
    with cutting(server.port, whole.table.nbytes // 3, whole.table.nbytes // 3) as proxy:
        pieces = [piece.batch for piece in read_endpoint(endpoint(proxy.url, **asked), record=record, retries=SOON)]
        assert proxy.cuts == 2
    assert digest(pa.Table.from_batches(pieces)) == digest(whole.table)
    assert record.resumed
    assert record.missing_ids == ["nobody", "no one"]
    assert record.objects == len(ids) - 2
    assert record.rows == len(whole.table)


def test_null_stamps_in_front_of_a_break_are_counted(server: FlightServer, client: fl.FlightClient) -> None:
    asked = {"table": "ztf", "all": True, "columns": ["i:candid"], "cutouts": ["Science"], "max_message_bytes": 32_768}
    whole = ask(client, **asked)
    record = Record()
    with cutting(server.port, whole.table.nbytes // 2) as proxy:
        pieces = [piece.batch for piece in read_endpoint(endpoint(proxy.url, **asked), record=record, retries=SOON)]
    assert digest(pa.Table.from_batches(pieces)) == digest(whole.table)
    assert record.resumed
    nulls = whole.table["b:cutoutScience_stampData"].null_count
    assert record.unexplained_cutouts + record.missing_cutouts + sum(record.cutout_errors.values()) == nulls


def test_tries_end(server: FlightServer) -> None:
    with cutting(server.port, *[1_000] * 50) as proxy, pytest.raises(BackendLost, match="no answer from"):
        list(read_endpoint(endpoint(proxy.url), retries=Retries(most=3, pause=0.001)))
    assert proxy.connections <= 8


def test_what_is_wrong_is_not_tried_again(server: FlightServer) -> None:
    with cutting(server.port) as proxy:
        wrong = endpoint(proxy.url, table="ztf", all=True, columns=["i:jdd"])
        with pytest.raises(UnknownColumn, match=r"did you mean i:jd"):
            list(read_endpoint(wrong, retries=Retries(pause=3600.0)))
        with pytest.raises(UnknownColumn):
            plan(proxy.url, {"table": "ztf", "all": True, "columns": ["i:jdd"]}, Retries(pause=3600.0))


def test_another_location_takes_over(server: FlightServer, url: str, wanted: Answered) -> None:
    record = Record()
    with cutting(server.port, wanted.table.nbytes // 2) as proxy:
        read = [piece.batch for piece in read_endpoint(endpoint(proxy.url, url), record=record, retries=Retries(pause=3600.0))]
        assert proxy.connections == 1, "the other one was asked at once"
    assert digest(pa.Table.from_batches(read)) == digest(wanted.table)
    assert record.resumed == 1


def test_a_killed_server_is_taken_over_by_another(tmp_path: Path, sample: Opened, url: str, wanted: Answered) -> None:
    # both have the same state
    with serving_store(shutil.copytree(sample.settings.folder, tmp_path / "store")) as other:
        pieces = read_endpoint(endpoint(other.url, url), retries=SOON, record=(record := Record()))
        first = next(pieces)
        other.process.send_signal(signal.SIGKILL)
        other.process.wait()
        batches = [first.batch, *(piece.batch for piece in pieces)]
    # what the killed server had sent already may be all there was
    assert digest(pa.Table.from_batches(batches)) == digest(wanted.table)
    assert record.rows == len(wanted.table)
    again = [piece.batch for piece in read_endpoint(endpoint(other.url, url), retries=SOON)]
    assert digest(pa.Table.from_batches(again)) == digest(wanted.table)


class Liar(fl.FlightServerBase):
    """A server whose completeness record contradicts its rows."""

    def __init__(self, **record: Any) -> None:
        super().__init__("grpc://127.0.0.1:0")
        self._record = record

    def do_get(self, *_given: object) -> fl.GeneratorStream:
        batch = pa.record_batch({"x": pa.array([1, 2, 3])})
        told = {"complete": True, "rows": 3, "missing_ids": []} | self._record
        said = [json.dumps({"seq": 0, "cursor": "c"}).encode(), json.dumps(told).encode()]
        return fl.GeneratorStream(batch.schema, iter([(batch, said[0]), (batch.slice(0, 0), said[1])]))


@pytest.fixture
def lying() -> Iterator[Callable[..., str]]:
    servers: list[Liar] = []

    def start(**record: Any) -> str:
        servers.append(Liar(**record))
        return f"grpc://127.0.0.1:{servers[-1].port}"

    yield start
    for server in servers:
        server.shutdown()


@pytest.mark.parametrize(
    ("record", "said"), [({"rows": 4}, "received 3 rows from .* which sent 4"), ({"complete": False}, "the query has no limit")]
)
def test_a_record_that_promises_more_raises(lying: Callable[..., str], record: dict[str, Any], said: str) -> None:
    with pytest.raises(CorruptData, match=said):
        list(read_endpoint(endpoint(lying(**record))))


def test_a_limit_may_leave_rows(lying: Callable[..., str]) -> None:
    record = Record()
    assert len(list(read_endpoint(endpoint(lying(complete=False), table="t", all=True, limit=3), record=record))) == 1
    assert not record.complete


def test_a_broken_stream_of_a_signed_ticket_goes_on(sample: Opened, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("k1 " + base64.b64encode(b"1" * 32).decode())
    keys.chmod(0o600)
    tickets = replace(sample.settings.tickets, signing_key_file=str(keys), signed_only=True)
    with FlightServer(sample.archive, replace(sample.settings, tickets=tickets)) as server:
        found = plan(f"grpc://127.0.0.1:{server.port}", WHOLE | {"upper_limits": True})
        assert all("sig" in json.loads(one.ticket) for one in found.endpoints)
        record = Record()
        whole = list(read_endpoints(iter(found.endpoints), record, Ahead()))
        share = sum(batch.nbytes for batch in whole) // 3
        with cutting(server.port, share, share) as proxy:
            moved = [replace(one, locations=(proxy.url,)) for one in found.endpoints]
            broken = Record()
            read = list(read_endpoints(iter(moved), broken, Ahead(), SOON))
            assert proxy.cuts == 2
        assert digest(pa.Table.from_batches(read)) == digest(pa.Table.from_batches(whole))
        assert broken.resumed
        assert broken.rows == record.rows > 108


def test_plans_can_be_sent_elsewhere(url: str, sample: Opened) -> None:
    found = plan(url, {"table": "ztf", "all": True})
    assert found.rows in {None, 108}
    assert pickle.loads(pickle.dumps(found.endpoints)) == found.endpoints
    assert {len(one.locations) for one in found.endpoints} == {1}


def test_long_lists_are_planned_in_parts(url: str, client: fl.FlightClient) -> None:
    known = sorted(set(ask(client, table="ztf", all=True, columns=["i:objectId"]).table["i:objectId"].to_pylist()))
    ids = [f"ZTF99{number:07}" for number in range(45_000)]
    ids[20_500:20_500] = known
    found = plan(url, {"table": "ztf", "ids": ids, "columns": ["i:objectId", "i:jd"]})
    assert len(found.endpoints) >= 45
    record = Record()
    table = pa.Table.from_batches(read_endpoints(iter(found.endpoints), record, Ahead(threads=3)))
    assert digest(table) == digest(ask(client, table="ztf", ids=known, columns=["i:objectId", "i:jd"]).table)
    assert record.missing_ids == [name for name in ids if name not in set(known)]
    assert record.objects == len(known)
