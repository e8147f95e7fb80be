"""The same alerts in an embedded store, which says what is true, and in HBase, where things go wrong."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.flight as fl
import pytest
from archives import ask, digest
from cluster_admin import ClusterAdmin
from clusters import Cluster, start_cluster
from hbase_rig import Fields, Rig, Truth, drop_all, new_prefix, open_rig
from waiting import is_running, wait_until

from flight_server.archive import Archive
from flight_server.catalogue import load_catalogue
from flight_server.flight import FlightServer
from flight_server.ingest import ingest
from flight_server.settings import load_settings
from flight_server.simulate import simulate
from flight_server.storage.embedded import EmbeddedStore
from flight_server.tickets import CUTOUT_KINDS

RUNNING_MORTAL = "ALERTFLIGHT_TEST_MORTAL_CLUSTER"  # names the folder of a cluster whose processes may be killed
LEASE_SECONDS = 3
STAMPED = {f"ZTF21stamps{number}": 12 for number in range(5)}


@pytest.fixture(scope="session")
def flood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alert files: more than 6,000 alerts, a few of them with stamps."""
    folder = tmp_path_factory.mktemp("flood")
    simulate(folder / "many", objects=240, nights=3, seed=9)
    simulate(folder / "stamped", objects=0, nights=2, seed=10, named=STAMPED, stamps=True)
    return folder


@pytest.fixture(scope="session")
def truth(flood: Path, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    settings = load_settings(environment={}, data=str(tmp_path_factory.mktemp("truth")), port=0)
    catalogue = load_catalogue()
    store = EmbeddedStore(settings.folder, catalogue)
    assert not ingest(store, catalogue, [flood]).failures
    archive = Archive(catalogue, store, store.cutouts, settings)
    with FlightServer(archive, settings) as server, fl.connect(f"grpc://127.0.0.1:{server.port}") as client:
        names = ask(client, table="ztf", all=True, columns=["i:objectId"]).table["i:objectId"].unique().to_pylist()
        random.Random(3).shuffle(names)
        queries: dict[str, Fields] = {
            "whole": {"table": "ztf", "all": True, "digest": True},
            "narrow": {"table": "ztf", "all": True, "columns": ["i:objectId", "i:jd", "i:magpsf"]},
            "objects": {"table": "ztf", "ids": names, "digest": True},
            "object": {"table": "ztf", "ids": names[:1]},
            "limits": {"table": "ztf", "ids": names[:150], "upper_limits": True},
            "stamps": {"table": "ztf", "ids": list(STAMPED), "cutouts": list(CUTOUT_KINDS), "max_message_bytes": 262_144},
        }
        tables = {name: ask(client, **fields).table for name, fields in queries.items()}
    store.close()
    return Truth({name: (queries[name], table, digest(table)) for name, table in tables.items()})


def fill(cluster: Cluster, prefix: str, flood: Path) -> str:
    """Put the alerts into the cluster; gives the prefix of their tables."""
    rig = open_rig(cluster, prefix)
    try:
        assert not ingest(rig.store, load_catalogue(), [flood]).failures
    finally:
        rig.close()
    return prefix


@pytest.fixture(scope="session")
def filled(cluster: Cluster, flood: Path) -> str:
    """The prefix of tables in HBase that hold the alerts; nobody changes them."""
    return fill(cluster, new_prefix(), flood)


@pytest.fixture(scope="session")
def shared_rig(cluster: Cluster, filled: str) -> Iterator[Rig]:
    rig = open_rig(cluster, filled)
    yield rig
    rig.close()


@pytest.fixture
def rig(shared_rig: Rig) -> Iterator[Rig]:
    """A server over the alerts, as it comes."""
    shared_rig.pid()  # whatever the last test did to the gateway
    yield shared_rig
    shared_rig.passing.then = None


@pytest.fixture
def make_rig(cluster: Cluster, filled: str) -> Iterator[Callable[..., Rig]]:
    """Make servers of other settings over the alerts; after the test nothing is left of them."""
    made: list[Rig] = []

    def make(prefix: str = filled, on: Cluster = cluster, **given: Any) -> Rig:
        made.append(open_rig(on, prefix, **given))
        return made[-1]

    yield make
    for one in made:
        pid = one.gateway.pid
        one.close()
        assert pid is None or not is_running(pid), "the gateway outlived its store"


@pytest.fixture
def own_tables(cluster: Cluster, admin: ClusterAdmin, flood: Path) -> Iterator[str]:
    """The prefix of tables with the alerts that one test may change."""
    prefix = fill(cluster, new_prefix(), flood)
    yield prefix
    drop_all(admin, prefix)


@pytest.fixture(scope="session")
def mortal_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose RegionServers may be killed, and whose scanners are given up soon."""
    if RUNNING_MORTAL in os.environ:
        yield Cluster(Path(os.environ[RUNNING_MORTAL]))
        return
    lease = f"hbase.client.scanner.timeout.period={LEASE_SECONDS * 1000}"
    started = start_cluster(tmp_path_factory.mktemp("mortal"), "--session-timeout", "15", "--set", lease)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def mortal_tables(mortal_cluster: Cluster, flood: Path) -> str:
    return fill(mortal_cluster, new_prefix(), flood)


@pytest.fixture
def mortal(mortal_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster whose processes may be killed, with all of them running."""
    mortal_cluster.up()
    yield mortal_cluster
    mortal_cluster.up()
    wait_until(lambda: is_running(mortal_cluster.pid("regionserver-1")), "the cluster is whole again")
