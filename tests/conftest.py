"""A store with the sample alerts, and a server over it that real Flight clients talk to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from alert_data import SAMPLES

from flight_server.archive import Archive
from flight_server.catalogue import load_catalogue
from flight_server.digests import Digest
from flight_server.flight import FlightServer
from flight_server.ingest import IngestReport, ingest
from flight_server.settings import Settings, load_settings
from flight_server.storage.embedded import EmbeddedStore


@dataclass
class Opened:
    """A store, the archive over it, and the ingest that filled it."""

    store: EmbeddedStore
    archive: Archive
    settings: Settings
    reports: list[IngestReport] = field(default_factory=list)

    def ingest(self, *paths: Path) -> IngestReport:
        self.reports.append(ingest(self.store, load_catalogue(), paths))
        return self.reports[-1]


@dataclass
class Answered:
    """What a do_get gave: the rows, each message's metadata, and the record at the end."""

    table: pa.Table
    messages: list[tuple[int, dict[str, Any]]]
    record: dict[str, Any]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    opened: list[Opened] = []

    def make(folder: Path | str = "store") -> Opened:
        settings = load_settings(environment={}, data=str(tmp_path / folder), port=0)
        catalogue = load_catalogue()
        store = EmbeddedStore(settings.folder, catalogue)
        opened.append(Opened(store, Archive(catalogue, store, store.cutouts, settings), settings))
        return opened[-1]

    yield make
    for one in opened:
        one.store.close()


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """The sample alerts in a store that nobody changes."""
    settings = load_settings(environment={}, data=str(tmp_path_factory.mktemp("sample")), port=0)
    catalogue = load_catalogue()
    store = EmbeddedStore(settings.folder, catalogue)
    opened = Opened(store, Archive(catalogue, store, store.cutouts, settings), settings)
    opened.ingest(SAMPLES)
    yield opened
    store.close()


@pytest.fixture(scope="session")
def server(sample: Opened) -> Iterator[FlightServer]:
    with FlightServer(sample.archive, sample.settings) as running:
        yield running


@pytest.fixture
def client(server: FlightServer) -> Iterator[fl.FlightClient]:
    with fl.connect(f"grpc://127.0.0.1:{server.port}") as connected:
        yield connected


@pytest.fixture
def serve() -> Iterator[Callable[..., fl.FlightClient]]:
    """Serve any archive; gives a client of it."""
    running: list[tuple[FlightServer, fl.FlightClient]] = []

    def start(opened: Opened, **changed: Any) -> fl.FlightClient:
        server = FlightServer(opened.archive, replace(opened.settings, **changed))
        client = fl.connect(f"grpc://127.0.0.1:{server.port}")
        running.append((server, client))
        return client

    yield start
    for server, client in running:
        client.close()
        server.shutdown()


def ask(client: fl.FlightClient, **fields: Any) -> Answered:
    """Send a ticket and read the answer to its end."""
    reader = client.do_get(fl.Ticket(json.dumps(fields).encode()))
    return read(reader)


def read(reader: Iterable[Any]) -> Answered:
    messages = []
    batches = []
    for chunk in reader:
        metadata = json.loads(chunk.app_metadata.to_pybytes()) if chunk.app_metadata else {}
        messages.append((len(chunk.data), metadata))
        batches.append(chunk.data)
    return Answered(pa.Table.from_batches(batches), messages, messages[-1][1])


def digest(table: pa.Table) -> str:
    """Give the digest of a table; unlike `equals` it finds NaN equal to NaN."""
    found = Digest(table.schema)
    for batch in table.to_batches():
        found.update(batch)
    return found.hexdigest()
