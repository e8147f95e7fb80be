"""No ticket of the largest size makes a server grow much, whatever it asks for."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.flight as fl
import pytest
from archives import Opened
from hostile_tickets import hostile_tickets
from memory import peak_growth
from processes import COMMAND, serving
from sky_worlds import World

from flight_server.protocol.query import MAX_TICKET_BYTES, Query
from flight_server.security.tickets import Issued, TicketOffice

MOST_BYTES = 300 << 20
# what a server imports, opens and caches once
ORDINARY = (
    {"table": "ztf", "cone": {"ra": 1, "dec": 1, "radius": 5}},
    {"table": "ztf.pixel128", "skymap": {"nside": 1024, "ranges": [[0, 50_000]]}},
    {"table": "ztf", "all": True, "limit": 100, "upper_limits": True},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("hostile") / "store"
    world = World(store, 7, objects=1000)
    world.ingest(3_000)
    world.opened.store.close()
    return store


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[tuple[int, fl.FlightClient]]:
    """A server of its own, and its process ID."""
    with serving([COMMAND, "serve", "--port", "0", "--data", folder]) as running, fl.connect(running.url) as client:
        for fields in ORDINARY:
            client.do_get(fl.Ticket(json.dumps(fields))).read_all()
        yield running.process.pid, client


@pytest.fixture(scope="module")
def tickets() -> list[tuple[str, bytes]]:
    return list(hostile_tickets())


def test_no_ticket_takes_much_memory(served: tuple[int, fl.FlightClient], tickets: list[tuple[str, bytes]]) -> None:
    pid, client = served
    grown = {}
    for name, ticket in tickets:
        assert MAX_TICKET_BYTES // 2 < len(ticket) <= MAX_TICKET_BYTES or len(ticket) < 200, name
        with peak_growth(pid) as growth, suppress(fl.FlightError):
            for _ in client.do_get(fl.Ticket(ticket)):
                pass
        grown[name] = growth[0]
    assert len(grown) > 50
    assert max(grown.values()) < MOST_BYTES, max(grown, key=grown.__getitem__)
    assert client.do_get(fl.Ticket(json.dumps(ORDINARY[2]))).read_all().num_rows == 100, "the server lives"


@pytest.mark.deep
def test_plans_of_such_tickets_take_little_memory_too(
    served: tuple[int, fl.FlightClient], tickets: list[tuple[str, bytes]]
) -> None:
    pid, client = served
    for name, ticket in tickets[::4]:
        with peak_growth(pid) as growth, suppress(fl.FlightError):
            client.get_flight_info(fl.FlightDescriptor.for_command(ticket))
        assert growth[0] < MOST_BYTES, name


def test_a_plan_of_many_parts_does_not_repeat_a_long_ticket_for_each(
    sample: Opened, serve: Callable[..., fl.FlightClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flight_server.storage.embedded.snapshot.Snapshot.split", parts_of_a_thousand)
    issued: list[int] = []
    issue = TicketOffice.issue

    def counted(self: TicketOffice, query: Query, *args: Any) -> Issued:
        issued.append(1)
        return issue(self, query, *args)

    monkeypatch.setattr(TicketOffice, "issue", counted)
    client = serve(sample)
    for length, least, most in ((1, 1000, 1000), (1_000_000, 1, 3)):
        issued.clear()
        command = json.dumps({"table": "ztf", "all": True, "plan": "x" * length}).encode()
        assert least <= len(client.get_flight_info(fl.FlightDescriptor.for_command(command)).endpoints) <= most
        assert len(issued) <= 2 * most


def parts_of_a_thousand(_view: object, _scan: object) -> list[tuple[bytes, bytes]]:
    edges = [b"", *(f"ZTF{number:04d}".encode() for number in range(1, 1000)), b""]
    return list(itertools.pairwise(edges))
