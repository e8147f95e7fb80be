"""Answers with many cutouts need little memory in the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.flight as fl
import pytest
from block_answers import KINDS
from memory import watching
from processes import COMMAND, serving

from flight_server.catalog.catalog import load_catalog
from flight_server.ingest import ingest
from flight_server.simulate import simulate
from flight_server.storage.embedded import EmbeddedStore

ALERTS = 10_000
MOST_BYTES = 1 << 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 10,000 alerts with 400 MB of cutouts."""
    base = tmp_path_factory.mktemp("many")
    simulate(
        base / "alerts", objects=0, nights=4, seed=4, named={f"ZTF21many{n:03d}": 20 for n in range(ALERTS // 20)}, stamps=True
    )
    store = EmbeddedStore(base / "store")
    assert not ingest(store, load_catalog(), [base / "alerts"]).failures
    store.close()
    return base / "store"


def drain(url: str, ticket: dict[str, Any]) -> tuple[int, int, dict[str, Any]]:
    """Read an answer without keeping it; return rows, bytes and the record."""
    rows = size = 0
    with fl.connect(url) as client:
        for chunk in client.do_get(fl.Ticket(json.dumps(ticket).encode())):
            if chunk.data is not None:
                rows += len(chunk.data)
                size += chunk.data.nbytes
            if chunk.app_metadata is not None:
                last = json.loads(chunk.app_metadata.to_pybytes())
    return rows, size, last


@pytest.mark.deep
@pytest.mark.parametrize("cutout_format", ["bytes", "array"])
def test_ten_thousand_alerts_with_three_stamps_each(folder: Path, cutout_format: str) -> None:
    with serving([COMMAND, "serve", "--port", "0", "--data", folder]) as running:
        ticket = {"table": "ztf", "all": True, "columns": ["i:candid"], "cutouts": KINDS, "cutout_format": cutout_format}
        with watching(running.server) as seen:
            rows, size, record = drain(running.url, ticket)
    assert rows == record["rows"] == ALERTS
    assert record["missing_cutouts"] == 0
    assert size > 390_000_000
    assert max(seen) < MOST_BYTES
