"""Fixtures: a store with the sample alerts, a server for real Flight clients, and a cluster for tests that need one.

Tests that ask for a store run against the embedded one; those marked `both_stores` against each kind.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.flight as fl
import pytest
from alert_data import SAMPLES, swept_folder
from archives import Opened, open_embedded
from cluster_admin import ClusterAdmin
from clusters import Cluster, start_cluster
from hbase_ingested import Ingested
from hbase_stores import HBaseStores

from flight_server.flight import FlightServer
from flight_server.simulate import simulate

pytest_plugins = ["what_runs"]
# names the folder of a running cluster, to be used and left as it is; not for the processes of tests, to which it is no setting
RUNNING = os.environ.pop("ALERTFLIGHT_TEST_CLUSTER", None)
# tests have many small tables, each of which takes a chunk of memory for every family and region
CLUSTER = ("--session-timeout", "600", "--set", "hbase.hregion.memstore.mslab.chunksize=65536")
CLUSTER += ("--set", "hbase.hregion.memstore.mslab.max.allocation=16384")
# scanners are given up soon, though not those of HBase's own table; what a killed server left open is taken over soon
CLUSTER += ("--set", "hbase.client.scanner.timeout.period=1000", "--set", "hbase.client.meta.scanner.timeout.period=60000")
CLUSTER += ("--set", "hbase.lease.recovery.first.pause=500")
# what the first of these tests waits for: Maven's downloads, the gateway's build, the cluster
HBASE = (pytest.mark.hbase, pytest.mark.timeout(1800))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=8, metavar="N", help="how often the gateway is killed in the test of that")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store_kind" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("both_stores")
        kinds = ["embedded", pytest.param("hbase", marks=HBASE)] if marked else ["embedded"]
        metafunc.parametrize("store_kind", kinds, indirect=True, scope="session")


def pytest_itemcollected(item: pytest.Item) -> None:
    if "cluster" in getattr(item, "fixturenames", ()):
        for mark in HBASE:
            item.add_marker(mark)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    items[:] = _without_other_parameters(items)
    yield
    # whatever others have made of the order; a cluster that lost a server takes long to be as it was
    items.sort(key=lambda item: item.get_closest_marker("kills_servers") is not None)


def _without_other_parameters(items: list[pytest.Item]) -> list[pytest.Item]:
    """Skip HBase for parameters that are not listed in the marker."""
    found, counts = [], Counter[str]()
    for item in items:
        marked = item.get_closest_marker("both_stores")
        if marked and marked.args and isinstance(item, pytest.Function) and item.callspec.params.get("store_kind") == "hbase":
            name = item.nodeid.partition("[")[0]
            counts[name] += 1
            if counts[name] - 1 not in marked.args:
                continue
        found.append(item)
    return found


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """HDFS and HBase, for all tests of this run."""
    if RUNNING:
        yield Cluster(Path(RUNNING), kept=True)
        return
    started = start_cluster(tmp_path_factory.mktemp("cluster"), *CLUSTER)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def admin(cluster: Cluster) -> Iterator[ClusterAdmin]:
    """Commands to HBase, without the product."""
    commands = ClusterAdmin(cluster)
    yield commands
    commands.close()


@pytest.fixture(scope="session")
def hbase_stores(cluster: Cluster, admin: ClusterAdmin) -> Iterator[HBaseStores]:
    stores = HBaseStores(cluster, admin, f"t{uuid.uuid4().hex[:8]}")
    yield stores
    stores.close(drop=bool(RUNNING))


@pytest.fixture(scope="session")
def store_kind(request: pytest.FixtureRequest) -> str:
    """The kind of store of a test run."""
    return str(request.param)


@pytest.fixture
def open_store(store_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Opened]]:
    """Open a store by name; within a test, the same name opens the same tables."""
    held: list[Opened] = []
    prefixes: dict[str, str] = {}

    def make(name: str = "store") -> Opened:
        if store_kind == "hbase":
            stores: HBaseStores = request.getfixturevalue("hbase_stores")
            if name not in prefixes:
                prefixes[name] = stores.prefix_with_tables()
            return stores.open(prefixes[name])
        held.append(open_embedded(tmp_path / name))
        return held[-1]

    yield make
    for one in held:
        one.store.close()
    if prefixes:
        request.getfixturevalue("hbase_stores").give_back(prefixes.values())


@pytest.fixture(scope="session")
def make_store(
    store_kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[], Opened]]:
    """Return a store that several tests share."""
    held: list[Opened] = []

    def make() -> Opened:
        if store_kind == "hbase":
            stores: HBaseStores = request.getfixturevalue("hbase_stores")
            return stores.open(stores.prefix())
        held.append(open_embedded(tmp_path_factory.mktemp("shared")))
        return held[-1]

    yield make
    for one in held:
        one.store.close()


@pytest.fixture(scope="session")
def ingested(hbase_stores: HBaseStores) -> Ingested:
    """The sample alerts in HBase, written by `alertflight ingest`; read-only."""
    tables = Ingested(hbase_stores, hbase_stores.prefix())
    tables.ingest(SAMPLES)
    return tables


@pytest.fixture(scope="session")
def sample(store_kind: str, request: pytest.FixtureRequest) -> Opened:
    """A read-only store with the sample alerts."""
    if store_kind == "hbase":
        tables: Ingested = request.getfixturevalue("ingested")
        return tables.open()
    make: Callable[[], Opened] = request.getfixturevalue("make_store")
    held = make()
    held.ingest(SAMPLES)
    return held


@pytest.fixture(scope="session")
def swept(make_store: Callable[[], Opened]) -> Opened:
    """A read-only store with all available real alerts."""
    held = make_store()
    assert not held.ingest(swept_folder()).failures
    return held


@pytest.fixture(scope="session")
def large_sample(make_store: Callable[[], Opened], tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """A read-only store with the sample alerts and three thousand simulated ones."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate(folder, objects=300, nights=5, seed=1, alerts_each=10)
    held = make_store()
    held.ingest(SAMPLES, folder)
    return held


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
    """Serve any archive; return a client of it."""
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
