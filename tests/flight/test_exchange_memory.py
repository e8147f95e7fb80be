"""An exchange of a million IDs needs little memory in the server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from memory import peak_growth, watching
from processes import COMMAND, serving

from flight_server.catalog.catalog import load_catalog
from flight_server.ingest import ingest
from flight_server.simulate import simulate
from flight_server.storage.embedded import EmbeddedStore

NAMES = [f"ZTF21asked{n:03d}" for n in range(500)]
EACH = 25
IDS = 1_000_000
BATCH = 20_000
MOST_BYTES = 1 << 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("asked")
    simulate(base / "alerts", objects=0, nights=4, seed=4, named=dict.fromkeys(NAMES, EACH))
    store = EmbeddedStore(base / "store")
    assert not ingest(store, load_catalog(), [base / "alerts"]).failures
    store.close()
    return base / "store"


def million() -> Iterator[pa.RecordBatch]:
    """Yield IDs; every tenth is in the archive."""
    for first in range(0, IDS, BATCH):
        numbers = range(first, first + BATCH)
        yield pa.record_batch({"id": [f"ZTF99x{n}" if n % 10 else NAMES[n // 10 % len(NAMES)] for n in numbers]})


@pytest.mark.deep
def test_a_million_ids_pass(folder: Path) -> None:
    with serving([COMMAND, "serve", "--port", "0", "--data", folder]) as running, fl.connect(running.url) as client:
        command = {"table": "ztf", "columns": ["i:objectId", "i:jd", "i:fid", "i:magpsf", "i:sigmapsf"]}
        writer, reader = client.do_exchange(fl.FlightDescriptor.for_command(json.dumps(command).encode()))

        def send() -> None:
            writer.begin(pa.schema([("id", pa.string())]))
            for batch in million():
                writer.write_batch(batch)
            writer.done_writing()

        sending = threading.Thread(target=send)
        rows = 0
        with watching(running.server) as seen:
            sending.start()
            for chunk in reader:
                rows += len(chunk.data)
                said = json.loads(chunk.app_metadata.to_pybytes()) if chunk.app_metadata else {}
            sending.join()
        writer.close()
    assert rows == said["rows"] == IDS // 10 * EACH
    assert (said["asked"], said["objects"], said["missing"]) == (IDS, IDS // 10, IDS - IDS // 10)
    assert max(seen) < MOST_BYTES


def test_names_that_are_not_found_are_not_kept(folder: Path) -> None:
    """They have 320 MB, of which the server may hold what it has read ahead."""
    with serving([COMMAND, "serve", "--port", "0", "--data", folder]) as running, fl.connect(running.url) as client:
        client.do_get(fl.Ticket(b'{"table": "ztf", "all": true, "limit": 10}')).read_all()
        writer, reader = client.do_exchange(fl.FlightDescriptor.for_command(b'{"table": "ztf", "columns": ["i:jd"]}'))

        def send() -> None:
            writer.begin(pa.schema([("id", pa.string())]))
            for first in range(0, 320_000, 1_000):
                writer.write_batch(pa.record_batch({"id": [f"{number:01000d}" for number in range(first, first + 1_000)]}))
            writer.done_writing()

        sending = threading.Thread(target=send)
        seen = 0
        with peak_growth(running.process.pid) as growth:
            sending.start()
            for chunk in reader:
                said = json.loads(chunk.app_metadata.to_pybytes()) if chunk.app_metadata else {}
                for name in said.get("missing_ids", ()):
                    assert int(name) == seen
                    seen += 1
            sending.join()
        writer.close()
    assert seen == said["missing"] == said["asked"] == 320_000
    assert growth[0] < 300 << 20
