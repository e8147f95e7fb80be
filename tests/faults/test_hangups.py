"""Clients that hang up, and answers past the deadline: the scan in the gateway ends too."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from cancel_requests import CANCELLED, cancel, request
from hbase_rig import Broken, Rig, Truth
from waiting import wait_until

READER = """
import sys, json, pyarrow.flight as fl
reader = fl.connect(sys.argv[1]).do_get(fl.Ticket(sys.argv[2].encode()))
reader.read_chunk()
print("reading", flush=True)
sys.stdin.read()
"""


def test_a_cancelled_answer_ends_its_scan(rig: Rig, truth: Truth) -> None:
    ticket = fl.Ticket(json.dumps(dict(truth.fields("whole")) | {"max_message_bytes": 65_536}).encode())
    before = rig.rest()
    for _ in range(5):
        with rig.client() as client:
            reader = client.do_get(ticket)
            reader.read_chunk()
            assert rig.health()["runs"]
            reader.cancel()
        took = wait_until(rig.is_idle, "the scan ends")
        print(f"the gateway was idle {took:.1f} s after the client had cancelled")
    after = rig.rest()
    assert after["references"] == before["references"]
    truth.check("object", rig.ask(truth.fields("object")))


def test_a_cancelled_plan_ends_its_scans(rig: Rig, truth: Truth) -> None:
    ticket = dict(truth.fields("whole")) | {"max_message_bytes": 65_536, "plan": "to be cancelled"}
    rig.rest()
    with rig.client() as client:
        readers = [client.do_get(fl.Ticket(json.dumps(ticket).encode())) for _ in range(2)]
        for reader in readers:
            reader.read_chunk()
        assert rig.health()["runs"]
        info = fl.FlightInfo(
            pa.schema([]), fl.FlightDescriptor.for_path("x"), [fl.FlightEndpoint(json.dumps(ticket), [])], -1, -1
        )
        assert cancel(client, request(info)) == CANCELLED
        for reader in readers:
            with pytest.raises(fl.FlightServerError, match="CancelFlightInfo"):
                reader.read_all()
        took = wait_until(rig.is_idle, "the scans end")
        print(f"the gateway was idle {took:.1f} s after the plan had been cancelled")
    truth.check("object", rig.ask(truth.fields("object")))


def test_a_killed_client_ends_its_scan(rig: Rig, truth: Truth) -> None:
    ticket = json.dumps(dict(truth.fields("whole")) | {"max_message_bytes": 65_536})
    rig.rest()
    command = [sys.executable, "-c", READER, rig.url, ticket]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "reading\n"
        assert rig.health()["runs"]
        client.send_signal(signal.SIGKILL)
    wait_until(rig.is_idle, "the scan ends")
    truth.check("object", rig.ask(truth.fields("object")))


def test_an_answer_past_its_deadline_ends_its_scan(make_rig: Callable[..., Rig], truth: Truth) -> None:
    rig = make_rig(limits={"seconds": 1.0})
    truth.check("object", rig.ask(truth.fields("object")))
    stop: list[int] = []

    def dawdle(count: int) -> None:
        if count == 1:
            wait_until(lambda: rig.archive is not None and stop.append(1) is None and len(stop) > 100, "some time")

    rig.passing.then = dawdle
    found = rig.try_to_ask(dict(truth.fields("whole")) | {"max_message_bytes": 65_536})
    rig.passing.then = None
    assert isinstance(found, Broken)
    assert found.error.code == "deadline"
    truth.check_beginning("whole", found)
    rig.rest()
