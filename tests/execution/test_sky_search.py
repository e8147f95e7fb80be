"""A search in the sky goes as far as its answer is read, and ends with its caller."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow.flight as fl
import pytest
from archives import Opened, messages
from sky_worlds import World
from slow_stores import for_ever, pausing
from waiting import wait_until

from flight_server.execution.sky_pixels import PixelRanges
from flight_server.flight import FlightServer
from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import DeadlinePassed, StreamCancelled
from flight_server.protocol.query import Query, SkyMap
from flight_server.storage.scans import Scan

EVERYWHERE = SkyMap(1024, ((1, 12 * 1024**2 - 1),))
OBJECTS = 600


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A store of some hundred objects."""
    world = World(tmp_path_factory.mktemp("crowd") / "store", 1, objects=OBJECTS)
    world.ingest(3 * OBJECTS)
    yield world.opened
    world.opened.store.close()


@pytest.mark.parametrize("table", ["ztf", "ztf.pixel128"])
@pytest.mark.parametrize("fields", [{"limit": 3}, {"limit_objects": 2}])
def test_a_limit_ends_the_search(crowd: Opened, table: str, fields: dict[str, Any]) -> None:
    if table == "ztf.pixel128" and "limit_objects" in fields:
        fields = {"limit": 7}
    batches: Counter[str] = Counter()

    def count(scan: Scan) -> None:
        batches[scan.table.name] += 1

    query = Query(table=table, skymap=EVERYWHERE, columns=("i:objectId", "i:jd"))
    counting = pausing(crowd, count)  # batches of 50 rows
    whole = messages(counting, query)
    assert batches["ztf.pixel128"] > 10
    batches.clear()
    part = messages(counting, replace(query, **fields))
    assert part.record["complete"] is False
    assert part.table.equals(whole.table.slice(0, len(part.table)))
    assert batches["ztf.pixel128"] <= 4


@pytest.mark.parametrize("region", [EVERYWHERE, SkyMap(128, ((0, 196_607),)), SkyMap(1024, ((0, 6_000_000),))])
@pytest.mark.parametrize("table", ["ztf", "ztf.pixel128"])
def test_a_search_without_a_caller_ends(crowd: Opened, table: str, region: SkyMap) -> None:
    gone: list[bool] = []

    def hang_up(_scan: Scan) -> None:
        gone.append(True)

    slow = pausing(crowd, hang_up)
    answer = slow.archive.answer(Query(table=table, skymap=region), Caller(cancelled=lambda: bool(gone)))
    with pytest.raises(StreamCancelled):
        list(answer.messages)
    assert len(gone) < 4, "the search ends within a batch or two"
    with pytest.raises(DeadlinePassed):
        messages(pausing(crowd, for_ever, seconds=0.2), Query(table=table, skymap=region))


@pytest.mark.parametrize("upper_limits", [False, True])
def test_objects_that_are_not_there_are_not_looked_for_without_a_caller(crowd: Opened, upper_limits: bool) -> None:
    asked: Counter[str] = Counter()

    def gone() -> bool:
        return sum(asked.values()) > 2

    def count(scan: Scan) -> None:
        asked[scan.table.name] += 1

    nobody = tuple(f"nobody{number}" for number in range(50_000))
    query = Query(table="ztf", ids=nobody, columns=("i:jd",), upper_limits=upper_limits)
    with pytest.raises(StreamCancelled):
        list(pausing(crowd, count).archive.answer(query, Caller(cancelled=gone)).messages)
    assert sum(asked.values()) < 7


def test_the_pixels_of_a_large_map_are_not_found_without_a_caller() -> None:
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise StreamCancelled("the caller hung up")

    with pytest.raises(StreamCancelled):
        PixelRanges.of(SkyMap(1024, ((0, 6_000_000),))).overlapping(128, check)
    assert len(calls) == 3


def test_a_server_works_no_longer_than_its_client_waits(crowd: Opened) -> None:
    slow = pausing(crowd, for_ever)
    with FlightServer(slow.archive, slow.settings) as server, fl.connect(f"grpc://127.0.0.1:{server.port}") as client:
        ticket = {"table": "ztf", "skymap": {"nside": 1024, "ranges": [[0, 12 * 1024**2 - 1]] * 50}, "limit": 1}
        with pytest.raises(fl.FlightTimedOutError):
            client.do_get(fl.Ticket(json.dumps(ticket)), fl.FlightCallOptions(timeout=0.5)).read_all()
        wait_until(lambda: not server._streams._open, "the stream is closed")


def test_an_object_with_rows_in_several_pixels_comes_once(crowd: Opened) -> None:
    rows = messages(crowd, Query(table="ztf.pixel128", skymap=EVERYWHERE, columns=("i:objectId",))).table
    assert len(rows) > len(rows["i:objectId"].unique()), "some moved from one pixel to the next"
    found = messages(crowd, Query(table="ztf", skymap=EVERYWHERE, columns=("i:objectId",)))
    names = found.table["i:objectId"].to_pylist()
    changes = sum(one != other for one, other in itertools.pairwise(names)) + 1
    assert changes == len(set(names)) == found.record["objects"] == len(rows["i:objectId"].unique())
    order = rows["i:objectId"].unique().to_pylist()
    assert list(dict.fromkeys(names)) == order
