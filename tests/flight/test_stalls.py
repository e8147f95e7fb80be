"""Stalled clients: their resources on the server are freed, and others are served."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import Opened, ask, messages
from slow_stores import pausing
from waiting import wait_until

from flight_server.flight import FlightServer
from flight_server.flight.pump import Pump, PumpEnded
from flight_server.protocol.errors import AlertflightError, DeadlinePassed, InternalError, StreamCancelled
from flight_server.protocol.query import Query
from flight_server.storage.scans import Rows, Scan

NAME = "ZTF20abfcszi"
CONNECTIONS = 4
ALONE = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own, since a stalled one may hold up all its streams


@pytest.fixture(params=[20, pytest.param(200, marks=pytest.mark.long)])
def streams(request: pytest.FixtureRequest) -> int:
    """The limit of concurrent streams."""
    return int(request.param)


@pytest.fixture
def endless(sample: Opened, streams: int) -> Opened:
    """An archive whose scans of whole tables never end, with a short stall limit."""
    opened = pausing(sample, lambda _: None, again=True, streams=streams, stall_seconds=1.0)
    opened.archive._rows.view = CountingViews(opened.archive._rows.view)
    return opened


class CountingViews:
    """Views that count the scans that are open."""

    def __init__(self, view: Callable[[], Any]) -> None:
        self.view = view
        self.open = 0
        self.lock = threading.Lock()

    def __call__(self) -> Any:
        made = self.view()
        made.scan = self.counted(made.scan)
        return made

    def counted(self, scan: Callable[[Scan], Iterator[Rows]]) -> Callable[[Scan], Iterator[Rows]]:
        def counting(wanted: Scan) -> Iterator[Rows]:
            with self.lock:
                self.open += 1
            try:
                yield from scan(replace(wanted)) if wanted.ids is None else scan(wanted)
            finally:
                with self.lock:
                    self.open -= 1

        return counting


@pytest.fixture
def server(endless: Opened) -> Iterator[FlightServer]:
    with FlightServer(endless.archive, endless.settings) as running:
        yield running


@pytest.fixture
def connect(server: FlightServer) -> Iterator[Callable[[], fl.FlightClient]]:
    with ExitStack() as held:

        def connected() -> fl.FlightClient:
            return held.enter_context(fl.connect(f"grpc://127.0.0.1:{server.port}", generic_options=ALONE))

        yield connected


def is_served(client: fl.FlightClient) -> bool:
    """Request one row; the limit ends the scan, although the store never does."""
    try:
        return ask(client, table="ztf", ids=[NAME], limit=1, columns=["i:jd"]).record["rows"] == 1
    except fl.FlightUnavailableError as error:
        assert json.loads(error.extra_info)["code"] == "overloaded"
        return False


def open_scans(server: FlightServer) -> int:
    return int(server._archive._rows.view.open)


@pytest.mark.timeout(600)
def test_readers_that_stop_make_way(server: FlightServer, connect: Callable[[], fl.FlightClient], streams: int) -> None:
    ticket = fl.Ticket(json.dumps({"table": "ztf", "all": True, "max_message_bytes": 262_144}))
    clients = [connect() for _ in range(CONNECTIONS)] * (streams // CONNECTIONS)
    readers = []
    other = connect()
    try:
        readers += (client.do_get(ticket) for client in [connect(), *clients[1:]])
        wait_until(lambda: is_served(other), "another client is served")
        wait_until(lambda: open_scans(server) == 0, "no scan is open")
        with pytest.raises(fl.FlightTimedOutError) as caught:
            while True:
                readers[0].read_chunk()
        told = json.loads(caught.value.extra_info)
        assert (told["code"], told["retry"]) == ("deadline", "here")
        assert "the client read nothing for 1 s" in told["message"]
    finally:
        for reader in readers:
            reader.cancel()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stops", ["before the schema", "before the first batch", "without reading"])
def test_exchanges_that_stop_make_way(
    sample: Opened, server: FlightServer, connect: Callable[[], fl.FlightClient], streams: int, stops: str
) -> None:
    command = fl.FlightDescriptor.for_command(json.dumps({"table": "ztf"}))
    held = []
    other = connect()
    names = messages(sample, Query(table="ztf", all=True, columns=("i:objectId",))).table[0].unique()
    try:
        for client in [connect() for _ in range(CONNECTIONS)] * (streams // CONNECTIONS):
            writer, reader = client.do_exchange(command)
            held.append((writer, reader))
            if stops != "before the schema":
                writer.begin(pa.schema([("id", pa.string())]))
            if stops == "without reading":
                writer.write_batch(pa.record_batch({"id": names}))
        wait_until(lambda: is_served(other), "another client is served")
        wait_until(lambda: open_scans(server) == 0, "no scan is open")
        assert is_served(other)
    finally:
        for _, reader in held:
            reader.cancel()
        for writer, _ in held:
            with suppress(fl.FlightError, pa.ArrowException, OSError):
                writer.close()


@pytest.mark.parametrize(
    "failure", [ValueError("broken"), KeyboardInterrupt(), GeneratorExit()], ids=["error", "interrupt", "exit"]
)
def test_a_pump_hands_over_all_items_and_then_the_error(failure: BaseException) -> None:
    def items() -> Iterator[int]:
        yield from range(20)
        raise failure

    ended = threading.Event()
    pump = Pump(items(), lambda: None, 60, ended.set)
    making = threading.Thread(target=pump.run)
    making.start()
    assert [pump.take(60) for _ in range(20)] == list(range(20))
    with pytest.raises(InternalError):
        pump.take(60)
    assert ended.wait(60)
    making.join()


def test_a_pump_says_when_nothing_has_come() -> None:
    go_on = threading.Event()

    def items() -> Iterator[int]:
        assert go_on.wait(60)
        yield 1

    pump = Pump(items(), lambda: None, 60)
    making = threading.Thread(target=pump.run)
    making.start()
    assert pump.take(0.01) is None
    go_on.set()
    assert pump.take(60) == 1
    with pytest.raises(PumpEnded):
        pump.take(60)
    making.join()


@pytest.mark.parametrize("count", [1, 100])
def test_a_pump_whose_reader_stops_throws_away_what_it_made(count: int) -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(count)
        finally:
            closed.set()

    ended = threading.Event()
    pump = Pump(items(), lambda: None, 0.05, ended.set)
    pump.run()
    assert closed.is_set()
    assert ended.is_set()
    with pytest.raises(DeadlinePassed):
        pump.take(60)


def test_a_pump_checks_while_nobody_reads() -> None:
    def late() -> None:
        raise DeadlinePassed("too late")

    pump = Pump(iter(range(100)), late, 60)
    pump.run()
    taken = [pump.take(60) for _ in range(3)]
    assert taken == [0, 1, 2]
    with pytest.raises(DeadlinePassed, match="too late"):
        pump.take(60)


def test_a_pump_that_is_closed_ends() -> None:
    ended = threading.Event()
    pump = Pump(iter(range(100)), lambda: None, 60, ended.set)
    making = threading.Thread(target=pump.run)
    making.start()
    assert pump.take(60) == 0
    pump.close()
    assert ended.wait(60)
    making.join()
    with pytest.raises(StreamCancelled):
        pump.take(60)


def test_an_error_keeps_no_generator_behind_it() -> None:
    """A frame of a traceback would keep the scan that it reads."""
    closed = threading.Event()

    def scan() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.set()

    def checked(rows: Iterator[int]) -> Iterator[int]:
        for row in rows:
            if row:
                raise StreamCancelled("the caller has gone")
            yield row

    gc.disable()
    try:
        pump = Pump(checked(scan()), lambda: None, 60)
        pump.run()
        assert closed.is_set()
        assert pump.take(60) == 0
        for _ in range(2):
            with pytest.raises(AlertflightError, match="has gone"):
                pump.take(60)
    finally:
        gc.enable()
