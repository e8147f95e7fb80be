"""A store with the sample alerts, and a server over it that real Flight clients talk to; a cluster where one is needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.flight as fl
import pytest
from alert_data import SAMPLES
from archives import Opened
from cluster_admin import ClusterAdmin
from clusters import Cluster, start_cluster

from flight_server.archive import Archive
from flight_server.catalogue import load_catalogue
from flight_server.flight import FlightServer
from flight_server.settings import load_settings
from flight_server.storage.embedded import EmbeddedStore

RUNNING = "ALERTFLIGHT_TEST_CLUSTER"  # names the folder of a running cluster, to be used and left as it is
# what the first of these tests waits for: Maven's downloads, the gateway's build, the cluster
HBASE = (pytest.mark.hbase, pytest.mark.timeout(1800))
CLUSTERS = {"cluster", "mortal_cluster"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=20, metavar="N", help="how often the gateway is killed in the test of that")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if CLUSTERS & set(getattr(item, "fixturenames", ())):
            for mark in HBASE:
                item.add_marker(mark)
    if "slow" not in config.option.markexpr:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """HDFS and HBase, for all tests of this run."""
    if RUNNING in os.environ:
        yield Cluster(Path(os.environ[RUNNING]))
        return
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")
    started = start_cluster(tmp_path_factory.mktemp("cluster"), "--session-timeout", "600")
    yield started
    started.stop()


@pytest.fixture(scope="session")
def admin(cluster: Cluster) -> Iterator[ClusterAdmin]:
    """Commands to HBase, past the product."""
    commands = ClusterAdmin(cluster)
    yield commands
    commands.close()


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
