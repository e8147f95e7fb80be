"""CancelFlightInfo: cancellation of plans."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import Opened, ask, read
from cancel_requests import CANCELLED, NOT_CANCELLABLE, cancel, request, varint
from hypothesis import given
from hypothesis import strategies as st
from slow_stores import for_ever, pausing

from flight_server.flight import pump
from flight_server.flight.cancellation import _info
from flight_server.protocol.errors import StreamCancelled
from flight_server.storage.scans import Scan

EMPTY = pa.schema([])
WANTED = {"table": "ztf", "ids": ["ZTF20abfcszi"], "columns": ["i:jd"]}


def info_of(*plans: str | None) -> fl.FlightInfo:
    """Return a plan as a server makes it."""
    tickets = [json.dumps(WANTED | ({} if plan is None else {"plan": plan})).encode() for plan in plans]
    endpoints = [fl.FlightEndpoint(ticket, []) for ticket in tickets]
    return fl.FlightInfo(EMPTY, fl.FlightDescriptor.for_command(json.dumps(WANTED)), endpoints, -1, -1)


def code(client: fl.FlightClient, **fields: Any) -> str:
    with pytest.raises(fl.FlightServerError) as caught:
        ask(client, **fields)
    return json.loads(caught.value.extra_info)["code"]


def test_a_cancelled_plan_is_not_begun(sample: Opened, serve: Callable[..., fl.FlightClient]) -> None:
    client = serve(sample)
    assert ask(client, **WANTED, plan="one").record["rows"] == 21
    assert cancel(client, request(info_of("one", "one"))) == CANCELLED
    assert cancel(client, request(info_of("one"))) == CANCELLED, "again"
    assert code(client, **WANTED, plan="one") == "cancelled"
    assert ask(client, **WANTED, plan="two").record["rows"] == 21
    assert ask(client, **WANTED).record["rows"] == 21


@pytest.mark.both_stores
def test_each_plan_is_cancelled_by_itself(sample: Opened, serve: Callable[..., fl.FlightClient]) -> None:
    client = serve(sample)
    wanted = fl.FlightDescriptor.for_command(json.dumps(WANTED | {"ids": ["ZTF20abfcszi", *map(str, range(1500))]}))
    first, second = (client.get_flight_info(wanted) for _ in range(2))
    assert len(first.endpoints) == 2
    assert cancel(client, request(first)) == CANCELLED
    for endpoint in first.endpoints:
        with pytest.raises(fl.FlightServerError, match="CancelFlightInfo"):
            read(client.do_get(endpoint.ticket))
    assert [read(client.do_get(endpoint.ticket)).record["rows"] for endpoint in second.endpoints] == [21, 0]


def test_a_signed_plan_is_cancelled_as_it_was_signed(
    sample: Opened, serve: Callable[..., fl.FlightClient], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("k1 " + base64.b64encode(b"1" * 32).decode())
    keys.chmod(0o600)
    client = serve(sample, tickets=replace(sample.settings.tickets, signing_key_file=str(keys), signed_only=True))
    info = client.get_flight_info(fl.FlightDescriptor.for_command(json.dumps(WANTED)))
    ticket = json.loads(info.endpoints[0].ticket.ticket)
    other = json.dumps(ticket | {"query": ticket["query"] | {"plan": "another"}}).encode()
    with pytest.raises(fl.FlightUnauthorizedError):
        cancel(client, request(fl.FlightInfo(EMPTY, info.descriptor, [fl.FlightEndpoint(other, [])], -1, -1)))
    assert read(client.do_get(info.endpoints[0].ticket)).record["rows"] == 21
    assert cancel(client, request(info)) == CANCELLED
    with pytest.raises(fl.FlightServerError, match="CancelFlightInfo"):
        read(client.do_get(info.endpoints[0].ticket))


def test_what_is_of_no_plan_cannot_be_cancelled(sample: Opened, serve: Callable[..., fl.FlightClient]) -> None:
    client = serve(sample)
    for info in (info_of(None), info_of("one", None), info_of()):
        assert cancel(client, request(info)) == NOT_CANCELLABLE
    assert ask(client, **WANTED, plan="one").record["rows"] == 21


@pytest.mark.both_stores
def test_a_stream_that_waits_for_its_store_ends(
    sample: Opened, serve: Callable[..., fl.FlightClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def pause(scan: Scan) -> None:
        try:
            for_ever(scan)
        except StreamCancelled:
            ended.append(scan.table.name)
            raise

    client = serve(pausing(sample, pause))
    ticket = fl.Ticket(json.dumps(WANTED | {"plan": "slow"}).encode())
    monkeypatch.setattr(pump, "KEEP_ALIVE_SECONDS", 0.05)
    readers = [client.do_get(ticket) for _ in range(3)]
    for reader in readers:
        assert len(reader.read_chunk().data) == 0
    assert cancel(client, request(info_of("slow"))) == CANCELLED
    for reader in readers:
        with pytest.raises(fl.FlightServerError, match="CancelFlightInfo") as caught:
            read(reader)
        assert json.loads(caught.value.extra_info)["code"] == "cancelled"
    assert ended == ["ztf"] * 3


@pytest.mark.both_stores
def test_a_stream_that_waits_for_its_client_ends(sample: Opened, serve: Callable[..., fl.FlightClient]) -> None:
    """The store always has more rows; the stream is cancelled while nobody reads."""
    client = serve(pausing(sample, lambda _: None, again=True))
    reader = client.do_get(fl.Ticket(json.dumps({"table": "ztf", "all": True, "plan": "p"}).encode()))
    assert len(reader.read_chunk().data)
    assert cancel(client, request(info_of("p"))) == CANCELLED
    with pytest.raises(fl.FlightServerError) as caught:
        read(reader)
    assert json.loads(caught.value.extra_info)["code"] == "cancelled"


@pytest.mark.parametrize(
    "body",
    [b"", b"\x0a", b"\x0a\x05ab", b"\x08\x01", b"\x0b", b"\x0a\x03\xff\xff\xff", b"\xff" * 20, b"{}", b"\x12\x01a"],
    ids=repr,
)
def test_another_body_is_refused(client: fl.FlightClient, body: bytes) -> None:
    with pytest.raises(fl.FlightServerError) as caught:
        cancel(client, body)
    info = json.loads(caught.value.extra_info)
    assert (info["code"], info["field"]) == ("bad_value", "body")


def test_endpoints_that_are_no_tickets_are_refused(client: fl.FlightClient) -> None:
    info = fl.FlightInfo(EMPTY, fl.FlightDescriptor.for_path("x"), [fl.FlightEndpoint(b"else", [])], -1, -1)
    with pytest.raises(fl.FlightServerError) as caught:
        cancel(client, request(info))
    assert json.loads(caught.value.extra_info)["code"] == "invalid_ticket"


@given(st.binary(max_size=300), st.integers(0, 2**63 - 1), st.binary(min_size=8, max_size=8))
def test_fields_of_later_protocols_are_passed_over(value: bytes, number: int, fixed: bytes) -> None:
    field = b"\x0a" + varint(len(value)) + value
    others = b"\x10" + varint(number) + b"\x19" + fixed + b"\x25" + fixed[:4] + b"\x32\x02ab"
    assert _info(others + field + others) == value
