"""A store with the sample alerts, and a server over it that real Flight clients talk to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.flight as fl
import pytest
from alert_data import SAMPLES
from archives import Opened

from flight_server.archive import Archive
from flight_server.catalogue import load_catalogue
from flight_server.flight import FlightServer
from flight_server.settings import load_settings
from flight_server.storage.embedded import EmbeddedStore


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
