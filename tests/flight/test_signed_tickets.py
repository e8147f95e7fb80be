"""Signed tickets, from get_flight_info to do_get."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import Opened, ask, digest, read
from processes import COMMAND

import flight_client
from flight_server.flight import FlightServer
from flight_server.protocol.ticket_json import parse_ticket

CURVE = ["i:objectId", "i:jd", "i:magpsf"]
WANTED = {"table": "ztf", "ids": ["nobody", "ZTF20abfcszi", "ZTF25aauurnj"], "columns": CURVE}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text("k1 " + base64.b64encode(b"1" * 32).decode() + "\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def serve_signed(sample: Opened, serve: Callable[..., fl.FlightClient], keys: Path) -> Callable[..., fl.FlightClient]:
    def start(**changed: Any) -> fl.FlightClient:
        return serve(sample, tickets=replace(sample.settings.tickets, signing_key_file=str(keys), **changed))

    return start


def plan(client: fl.FlightClient, **fields: Any) -> fl.FlightInfo:
    return client.get_flight_info(fl.FlightDescriptor.for_command(json.dumps(fields)))


def refusal(client: fl.FlightClient, ticket: bytes) -> tuple[str, str]:
    with pytest.raises(fl.FlightError) as caught:
        client.do_get(fl.Ticket(ticket)).read_all()
    info = json.loads(caught.value.extra_info)
    assert isinstance(caught.value, fl.FlightUnauthorizedError) is (info["code"] == "forbidden")
    return info["code"], info["field"]


def test_the_tickets_of_a_plan_are_signed_and_say_until_when(serve_signed: Callable[..., fl.FlightClient]) -> None:
    client = serve_signed()
    before = int(time.time())
    (endpoint,) = plan(client, **WANTED).endpoints
    ticket = json.loads(endpoint.ticket.ticket)
    assert set(ticket) == {"query", "kid", "sub", "exp", "sig"}
    assert (ticket["kid"], ticket["sub"]) == ("k1", "anonymous")
    assert before + 21_600 <= ticket["exp"] <= int(time.time()) + 21_600
    assert endpoint.expiration_time == pa.scalar(ticket["exp"] * 10**9, pa.timestamp("ns", "UTC"))
    answered = read(client.do_get(endpoint.ticket))
    assert answered.table.equals(ask(client, **WANTED).table)
    assert answered.record["missing_ids"] == ["nobody"]


def test_without_keys_tickets_are_plain(client: fl.FlightClient) -> None:
    (endpoint,) = plan(client, **WANTED).endpoints
    assert parse_ticket(endpoint.ticket.ticket).ids == tuple(WANTED["ids"])
    assert endpoint.expiration_time is None


def test_a_signed_ticket_that_was_changed_is_forbidden(serve_signed: Callable[..., fl.FlightClient]) -> None:
    client = serve_signed()
    (endpoint,) = plan(client, **WANTED).endpoints
    ticket = json.loads(endpoint.ticket.ticket)
    changed = {
        "query": ticket["query"] | {"ids": ["ZTF25aauurnj"]},
        "kid": "k2",
        "sub": "somebody",
        "exp": ticket["exp"] + 1,
        "sig": "A" * 43,
    }
    for field, value in changed.items():
        wanted = field if field == "kid" else "sig"
        assert refusal(client, json.dumps(ticket | {field: value}).encode()) == ("forbidden", wanted)
    assert refusal(client, json.dumps(ticket | {"more": 1}).encode()) == ("unknown_field", "more")


def test_an_expired_ticket_is_forbidden(serve_signed: Callable[..., fl.FlightClient], monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve_signed(lifetime=5)
    (endpoint,) = plan(client, **WANTED).endpoints
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 6)
    assert refusal(client, endpoint.ticket.ticket) == ("forbidden", "exp")


def test_keys_of_other_servers_are_unknown(
    serve_signed: Callable[..., fl.FlightClient], client: fl.FlightClient, keys: Path
) -> None:
    (endpoint,) = plan(serve_signed(), **WANTED).endpoints
    assert refusal(client, endpoint.ticket.ticket) == ("forbidden", "kid")
    older = keys.read_text()
    keys.write_text("k2 " + base64.b64encode(b"2" * 32).decode() + "\n" + older)
    rotated = serve_signed()
    assert read(rotated.do_get(endpoint.ticket)).record["rows"] > 21
    (newer,) = plan(rotated, **WANTED).endpoints
    assert json.loads(newer.ticket.ticket)["kid"] == "k2"


def test_plain_tickets_are_answered_unless_only_signed_ones_are(serve_signed: Callable[..., fl.FlightClient]) -> None:
    assert ask(serve_signed(), **WANTED).record["objects"] == 2
    client = serve_signed(signed_only=True)
    with pytest.raises(fl.FlightUnauthorizedError, match="get_flight_info") as caught:
        ask(client, **WANTED)
    assert json.loads(caught.value.extra_info)["code"] == "forbidden"
    (endpoint,) = plan(client, **WANTED).endpoints
    assert read(client.do_get(endpoint.ticket)).record["objects"] == 2


@pytest.mark.both_stores
def test_a_flight_has_a_signed_ticket_of_its_table(serve_signed: Callable[..., fl.FlightClient]) -> None:
    client = serve_signed(signed_only=True)
    flights = {info.descriptor.path[0].decode(): info for info in client.list_flights()}
    (endpoint,) = flights["ztf"].endpoints
    assert endpoint.expiration_time is not None
    # HBase does not count the rows of a table
    assert flights["ztf"].total_records in {-1, len(client.do_get(endpoint.ticket).read_all())}


def test_a_signed_ticket_goes_on_from_every_cursor(serve_signed: Callable[..., fl.FlightClient]) -> None:
    client = serve_signed(signed_only=True)
    (endpoint,) = plan(client, table="ztf", all=True, limit=1000, max_message_bytes=30_000).endpoints
    whole = read(client.do_get(endpoint.ticket))
    sent = 0
    for rows, metadata in whole.messages:
        sent += rows
        if rows:
            ticket = json.loads(endpoint.ticket.ticket) | {"resume_after": metadata["cursor"]}
            rest = read(client.do_get(fl.Ticket(json.dumps(ticket).encode())))
            assert digest(rest.table) == digest(whole.table.slice(sent))
    assert sent == len(whole.table) == 108
    assert len(whole.messages) > 4
    other = json.loads(endpoint.ticket.ticket) | {"resume_after": "nonsense"}
    assert refusal(client, json.dumps(other).encode()) == ("cursor_mismatch", "resume_after")


def test_the_signature_has_room_beside_the_largest_ticket(serve_signed: Callable[..., fl.FlightClient]) -> None:
    ids = ["ZTF20abfcszi", *(f"none{number:06d}" for number in range(900))]
    wanted = {"table": "ztf", "ids": ids, "columns": CURVE, "limit": 30}
    size = len(json.dumps(wanted, separators=(",", ":")))
    client = serve_signed(max_bytes=size)
    (endpoint,) = client.get_flight_info(
        fl.FlightDescriptor.for_command(json.dumps(wanted, separators=(",", ":")).encode())
    ).endpoints
    assert len(endpoint.ticket.ticket) > size
    assert read(client.do_get(endpoint.ticket)).record["rows"] == 21
    assert refusal(client, json.dumps(wanted).encode()) == ("too_large", "ticket")
    assert refusal(client, endpoint.ticket.ticket + b" " * 1024) == ("too_large", "ticket")


def test_a_server_does_not_start_with_keys_that_others_can_read(tmp_path: Path, keys: Path) -> None:
    keys.chmod(0o644)
    done = subprocess.run(
        [COMMAND, "serve", "--port", "0", "--data", tmp_path / "store"],
        env=os.environ | {"ALERTFLIGHT_TICKETS__SIGNING_KEY_FILE": str(keys)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "ready" not in done.stdout
    assert f"the keys in {keys} are open to other users" in done.stderr
    assert "Traceback" not in done.stderr


def exchange(client: fl.FlightClient, command: bytes) -> pa.Table:
    writer, reader = client.do_exchange(fl.FlightDescriptor.for_command(command))
    try:
        writer.begin(pa.schema([("id", pa.string())]))
        writer.write_batch(pa.record_batch({"id": WANTED["ids"]}))
        writer.done_writing()
        return read(reader).table
    finally:
        with suppress(fl.FlightError):
            writer.close()


def act(client: fl.FlightClient, name: str, body: bytes) -> bytes:
    (result,) = client.do_action(fl.Action(name, body))
    return result.body.to_pybytes()


def forbidden(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(fl.FlightError) as caught:
        call()
    info = json.loads(caught.value.extra_info)
    return info["code"], info["field"]


COMMAND_FIELDS = json.dumps({"table": "ztf", "columns": CURVE}).encode()


def test_nothing_is_read_without_a_signature(serve_signed: Callable[..., fl.FlightClient]) -> None:
    client = serve_signed(signed_only=True)
    plain = json.dumps(WANTED).encode()
    unsigned: list[Callable[[], object]] = [
        lambda: client.do_get(fl.Ticket(plain)).read_all(),
        lambda: exchange(client, COMMAND_FIELDS),
        lambda: act(client, "estimate", plain),
    ]
    assert [forbidden(call) for call in unsigned] == [("forbidden", "sig")] * 3
    # what describes the archive
    assert client.get_schema(fl.FlightDescriptor.for_command(plain)).schema.names == CURVE
    assert list(client.list_flights())
    for name in ("server-info", "health", "tables"):
        assert act(client, name, b"")
    (endpoint,) = plan(client, **WANTED).endpoints
    assert json.loads(act(client, "estimate", endpoint.ticket.ticket))["objects"] == 2


def test_an_exchange_takes_a_signed_command(
    serve_signed: Callable[..., fl.FlightClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve_signed(signed_only=True, lifetime=50)
    signed = act(client, "exchange-ticket", COMMAND_FIELDS)
    assert set(json.loads(signed)) == {"query", "kid", "sub", "exp", "sig"}
    assert set(exchange(client, signed)["i:objectId"].to_pylist()) == set(WANTED["ids"][1:])
    changed = json.loads(signed)
    changed["query"]["columns"] = ["i:ra"]
    assert forbidden(lambda: exchange(client, json.dumps(changed).encode())) == ("forbidden", "sig")
    assert forbidden(lambda: exchange(client, json.dumps(json.loads(signed) | {"resume_after": "x"}).encode())) == (
        "not_supported",
        "resume_after",
    )
    # neither kind of ticket stands for the other
    assert refusal(client, signed) == ("no_selection", "ids")
    (endpoint,) = plan(client, **WANTED).endpoints
    assert forbidden(lambda: exchange(client, endpoint.ticket.ticket)) == ("not_supported", "ids")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    assert forbidden(lambda: exchange(client, signed)) == ("forbidden", "exp")


def test_a_command_that_could_not_be_answered_is_not_signed(serve_signed: Callable[..., fl.FlightClient]) -> None:
    client = serve_signed()
    for fields, code, field in (
        ({"table": "ztff"}, "unknown_table", "table"),
        ({"table": "ztf", "columns": ["i:jdd"]}, "unknown_column", "columns"),
        ({"table": "ztf", "ids": ["x"]}, "not_supported", "ids"),
        ({"table": "ztf.anomaly", "start": 2459000}, "not_supported", "cone"),
    ):
        body = json.dumps(fields).encode()
        assert forbidden(lambda body=body: act(client, "exchange-ticket", body)) == (code, field)  # type: ignore[misc]
    for name in ("ztf", "ztf.pixel128", "ztf.upper"):
        assert act(client, "exchange-ticket", json.dumps({"table": name}).encode())


def test_without_keys_a_command_stays_as_it_is(client: fl.FlightClient) -> None:
    assert json.loads(act(client, "exchange-ticket", COMMAND_FIELDS)) == json.loads(COMMAND_FIELDS)


def test_the_library_signs_what_it_sends(sample: Opened, keys: Path) -> None:
    tickets = replace(sample.settings.tickets, signing_key_file=str(keys), signed_only=True)
    with FlightServer(sample.archive, replace(sample.settings, tickets=tickets)) as server:
        archive = flight_client.connect(f"grpc://127.0.0.1:{server.port}", progress=False)
        places = archive.select(table="ztf.pixel128", all=True, columns=["i:ra", "i:dec"]).to_arrow()
        found = archive.cones(places["i:ra"].to_numpy(), places["i:dec"].to_numpy(), radius=1.0, columns=CURVE)
        assert sum(len(batch) for batch in found) == found.record.rows > 20
