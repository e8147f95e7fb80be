"""Parallel reads of endpoints: rows in order, bounded memory, and threads that end."""

from __future__ import annotations

import json
import threading
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import ask, digest
from waiting import wait_until

from flight_client.endpoints import Endpoint, Record
from flight_client.parallel import Ahead, read_endpoints
from flight_server.flight import FlightServer
from flight_server.protocol.errors import UnknownTable

NAMES = 40


def workers() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("alertflight-")]


@pytest.fixture
def ids(client: fl.FlightClient) -> list[str]:
    return sorted(set(ask(client, table="ztf", all=True, columns=["i:objectId"]).table["i:objectId"].to_pylist()))[:NAMES]


@pytest.fixture
def endpoints(server: FlightServer, ids: list[str]) -> list[Endpoint]:
    url = f"grpc://127.0.0.1:{server.port}"
    return [_endpoint(url, ids=[one]) for one in ids]


def _endpoint(url: str, **fields: Any) -> Endpoint:
    return Endpoint(json.dumps({"table": "ztf"} | fields).encode(), (url,))


@pytest.mark.deep(after=3)
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("most", [1, 100_000, 1 << 30])
def test_rows_come_in_order(client: fl.FlightClient, ids: list[str], endpoints: list[Endpoint], threads: int, most: int) -> None:
    record = Record()
    table = pa.Table.from_batches(read_endpoints(iter(endpoints), record, Ahead(threads, most)))
    assert digest(table) == digest(ask(client, table="ztf", ids=ids).table)
    assert record.rows == len(table)
    assert record.objects == record.parts == len(ids)
    wait_until(lambda: not workers(), "the threads end")


def test_few_bytes_wait(endpoints: list[Endpoint]) -> None:
    taken: list[Endpoint] = []

    def counted() -> Any:
        for one in endpoints:
            taken.append(one)
            yield one

    rows = read_endpoints(counted(), Record(), Ahead(threads=2, most_bytes=1))
    next(rows)
    wait_until(lambda: len(taken) == 3 or len(taken) == 4, "two threads hold a batch each, and nobody takes more")
    before = len(taken)
    for _ in range(5):
        next(rows)
    assert len(taken) <= before + 6, "what is taken follows what is read"
    rows.close()
    wait_until(lambda: not workers(), "the threads end when nobody reads on")


def test_a_failure_comes_after_the_rows_in_front_of_it(server: FlightServer, endpoints: list[Endpoint]) -> None:
    url = f"grpc://127.0.0.1:{server.port}"
    broken = [*endpoints[:5], Endpoint(b'{"table": "ztff", "all": true}', (url,)), *endpoints[5:]]
    record = Record()
    found = []
    with pytest.raises(UnknownTable):
        for batch in read_endpoints(iter(broken), record, Ahead(threads=3)):
            found.append(batch)  # noqa: PERF402  (what came before the failure counts)
    assert record.parts == 5
    assert sum(map(len, found)) == record.rows
    wait_until(lambda: not workers(), "the threads end after a failure")


def test_a_plan_that_fails_says_so(endpoints: list[Endpoint]) -> None:
    def failing() -> Any:
        yield from islice(endpoints, 4)
        raise UnknownTable("no such table")

    with pytest.raises(UnknownTable, match="no such table"):
        list(read_endpoints(failing(), Record(), Ahead(threads=2)))
    assert list(read_endpoints(iter(()), Record(), Ahead())) == []
