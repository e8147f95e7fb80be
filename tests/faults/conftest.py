"""The same alerts in an embedded store, for the expected answers, and in HBase, for the faults."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.flight as fl
import pytest
from archives import ask, digest
from cluster_admin import ClusterAdmin
from clusters import Cluster
from hbase_rig import Fields, Rig, Truth, open_rig
from hbase_stores import HBaseStores
from waiting import is_running

from flight_server.catalog.catalog import load_catalog
from flight_server.execution.archive import Archive
from flight_server.flight import FlightServer
from flight_server.ingest import ingest
from flight_server.protocol.query import CUTOUT_KINDS
from flight_server.settings import load_settings
from flight_server.simulate import simulate
from flight_server.storage.embedded import EmbeddedStore

QUERIED = ("ztf", "ztf.cutouts", "ztf.upper", "ztf.uppervalid")
STAMPED = {f"ZTF21stamps{number}": 12 for number in range(5)}


@pytest.fixture(scope="session")
def flood(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alert files: more than 6,000 alerts, a few of them with cutouts."""
    folder = tmp_path_factory.mktemp("flood")
    simulate(folder / "many", objects=240, nights=3, seed=9)
    simulate(folder / "stamped", objects=0, nights=2, seed=10, named=STAMPED, stamps=True)
    return folder


@pytest.fixture(scope="session")
def truth(flood: Path, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    settings = load_settings(environment={}, data=str(tmp_path_factory.mktemp("truth")), port=0)
    catalog = load_catalog()
    store = EmbeddedStore(settings.folder, catalog)
    assert not ingest(store, catalog, [flood]).failures
    archive = Archive(catalog, store, store.cutouts, settings)
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


@pytest.fixture(scope="session")
def filled(hbase_stores: HBaseStores, flood: Path) -> str:
    """The prefix of read-only HBase tables with the alerts."""
    prefix = hbase_stores.prefix()
    assert not hbase_stores.open(prefix).ingest(flood).failures
    return prefix


@pytest.fixture(scope="session")
def shared_rig(cluster: Cluster, filled: str) -> Iterator[Rig]:
    rig = open_rig(cluster, filled)
    yield rig
    rig.close()


@pytest.fixture
def rig(shared_rig: Rig) -> Iterator[Rig]:
    """A server over the alerts, with default settings."""
    shared_rig.pid()  # whatever the last test did to the gateway
    yield shared_rig
    shared_rig.passing.then = None


@pytest.fixture
def make_rig(cluster: Cluster, filled: str) -> Iterator[Callable[..., Rig]]:
    """Make servers with other settings over the alerts; they are stopped after the test."""
    made: list[Rig] = []

    def make(prefix: str = filled, **given: Any) -> Rig:
        made.append(open_rig(cluster, prefix, **given))
        return made[-1]

    yield make
    for one in made:
        pid = one.gateway.pid
        one.close()
        assert pid is None or not is_running(pid), "the gateway outlived its store"


@pytest.fixture(scope="session")
def snapshots(admin: ClusterAdmin, filled: str) -> dict[str, str]:
    """Snapshots of the tables that the queries read."""
    admin.snapshot(*(filled + name for name in QUERIED), suffix="-snapshot")
    return {name: f"{filled}{name}-snapshot" for name in QUERIED}


@pytest.fixture
def own_tables(hbase_stores: HBaseStores, admin: ClusterAdmin, snapshots: dict[str, str]) -> Iterator[str]:
    """The prefix of tables with the alerts that one test may change."""
    prefix = hbase_stores.prefix()
    admin.clone({prefix + name: snapshot for name, snapshot in snapshots.items()})
    yield prefix
    admin.forget(prefix)


@pytest.fixture
def own_rig(cluster: Cluster, own_tables: str, rig: Rig) -> Iterator[Rig]:
    """A server over tables that the test may change, with the shared gateway."""
    own = Rig(cluster.settings(own_tables), beside=rig.store)
    yield own
    own.close()
