"""A foreign client with a strict message limit: Go's arrow-go, 4 MiB."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from alert_data import ROOT
from archives import Opened, ask
from foreign_hash import column_hash
from slow_stores import for_ever, pausing

from flight_server.catalog.catalog import load_catalog
from flight_server.flight import FlightServer, pump
from flight_server.storage.scans import Scan

GO = shutil.which("go")
pytestmark = [pytest.mark.go, pytest.mark.skipif(GO is None, reason="Go is not installed"), pytest.mark.timeout(900)]
KINDS = ["Science", "Template", "Difference"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("go") / "client"
    subprocess.run([str(GO), "build", "-o", built, "."], cwd=ROOT / "tests" / "go_client", check=True)
    return built


@pytest.fixture
def call(program: Path, server: FlightServer) -> Any:
    def run(method: str, body: dict[str, Any], port: int = server.port) -> dict[str, Any]:
        words = [program, f"127.0.0.1:{port}", method]
        done = subprocess.run(
            words, input=json.dumps(body).encode() if body else b"", capture_output=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run


TICKETS = [
    {"ids": ["ZTF20abfcszi"], "columns": ["i:jd", "i:fid", "i:magpsf", "i:candid", "d:cdsxmatch"]},
    {"ids": ["ZTF20abfcszi", "nobody"]},
    {"ids": ["nobody"]},
    {"all": True},
    {"all": True, "cutouts": KINDS},
    {"all": True, "cutouts": KINDS, "compression": "zstd"},
    {"all": True, "cutouts": ["Science"], "compression": "lz4", "cutout_format": "fits"},
    {"all": True, "upper_limits": True, "digest": True},
    {"ids": ["ZTF25aauurnj"], "upper_limits": True, "cutouts": ["Science"], "cutout_format": "array", "digest": True},
]


@pytest.mark.parametrize("fields", TICKETS)
def test_go_reads_what_pyarrow_reads(call: Any, client: fl.FlightClient, fields: dict[str, Any]) -> None:
    seen = call("do_get", {"table": "ztf", **fields})
    answered = ask(client, table="ztf", **fields)
    assert "error" not in seen
    assert [name for name, _, _ in seen["fields"]] == answered.table.schema.names
    assert [meta["unit"] for _, _, meta in seen["fields"]] == [
        field.metadata[b"unit"].decode() for field in answered.table.schema
    ]
    assert seen["sizes"] == [rows for rows, _ in answered.messages]
    records = [json.loads(text) if text else {} for text in seen["metadata"]]
    for record in (records[-1], answered.record):
        record.pop("as_of")
        record.pop("cutout_bytes_read", None)  # the second answer finds in memory what the first has read
    assert records[-1] == answered.record
    assert records[:-1] == [metadata for _, metadata in answered.messages[:-1]]
    for name in answered.table.schema.names:
        assert seen["columns"][name] == column_hash(answered.table[name]), name


@pytest.mark.parametrize("fields", TICKETS[1:5])
def test_go_passes_over_pauses(
    call: Any, client: fl.FlightClient, sample: Opened, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "KEEP_ALIVE_SECONDS", 0.01)
    slow = pausing(sample)
    with FlightServer(slow.archive, slow.settings) as server:
        seen = call("do_get", {"table": "ztf", **fields}, server.port)
    answered = ask(client, table="ztf", **fields)
    assert "error" not in seen
    assert "" in seen["metadata"]
    assert [rows for rows, text in zip(seen["sizes"], seen["metadata"], strict=True) if not text and rows] == []
    assert json.loads(seen["metadata"][-1])["rows"] == seen["rows"] == len(answered.table)
    for name in answered.table.schema.names:
        assert seen["columns"][name] == column_hash(answered.table[name]), name


def test_go_sees_every_message_under_its_limit_when_more_is_allowed(call: Any) -> None:
    seen = call("do_get", {"table": "ztf", "all": True, "cutouts": KINDS, "max_message_bytes": 2**26})
    assert "error" not in seen
    assert seen["rows"] == 108


def test_go_gets_plans_schemas_tables_and_actions(call: Any, client: fl.FlightClient) -> None:
    ids = [f"none{number}" for number in range(1500)]
    planned = call("get_flight_info", {"table": "ztf", "ids": ids})
    assert planned["endpoints"] == 2
    assert planned["ordered"] is True
    schema = call("get_schema", {"table": "ztf", "ids": ids, "columns": ["i:jd"]})
    assert [name for name, _, _ in schema["fields"]] == ["i:jd"]
    assert call("list_flights", {})["flights"] == [[name] for name in load_catalog().tables]
    assert json.loads(call("do_action:server-info", {})["results"][0])["name"] == "alertflight"


def test_go_cancels_plans(call: Any, sample: Opened) -> None:
    def pause(scan: Scan) -> None:
        if scan.ids:  # the planner's scans of no keys are not kept waiting
            for_ever(scan)

    wanted = {"table": "ztf", "ids": ["ZTF20abfcszi"], "columns": ["i:jd"]}
    slow = pausing(sample, pause)
    with FlightServer(slow.archive, slow.settings) as server:
        cancelled = call("cancel_flight_info", wanted | {"plan": "go"}, server.port)
        assert cancelled["status"] == "CANCEL_STATUS_CANCELLED"
        assert "CancelFlightInfo" in cancelled["error"]["message"], "the stream that was open ended"
        later = call("do_get", json.loads(cancelled["ticket"]), server.port)
        assert "CancelFlightInfo" in later["error"]["message"]


def test_go_gets_refusals_without_traces(call: Any) -> None:
    for method in ("do_get", "get_flight_info"):
        error = call(method, {"table": "ztf", "ids": ["a"], "columns": ["i:jdd"]})["error"]
        assert "ztf has no column 'i:jdd'" in error["message"]
        assert "Traceback" not in error["message"]
    refused = call("get_schema", {"table": "nothing", "ids": ["a"]})
    assert json.loads(refused["metadata"]["error"])["code"] == "unknown_table"


def test_the_hash_tells_values_apart() -> None:
    assert column_hash(pa.chunked_array([[1, None]])) != column_hash(pa.chunked_array([[1, 0]]))
