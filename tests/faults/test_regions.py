"""Regions that move, split or lose their server during a scan, and scanners that expire: each row is received once."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator

import pytest
from cluster_admin import ClusterAdmin
from clusters import Cluster
from hbase_rig import Rig, Truth
from hbase_stores import HBaseStores
from waiting import is_running, wait_until

KINDS = ("whole", "objects")
SERVERS = ("regionserver-1", "regionserver-2")
EXPIRED = re.compile(r"Scanner lease \S+ expired")


class Once:
    """A hook that runs an action after the first batch of an answer, and records that it ran."""

    def __init__(self, rig: Rig, deed: Callable[[], None]) -> None:
        self._deed = deed
        self._lock = threading.Lock()
        self.done = False
        rig.passing.then = self

    def __call__(self, count: int) -> None:
        with self._lock:
            if count >= 1 and not self.done:
                self.done = True
                self._deed()


def _ask_during(rig: Rig, truth: Truth, kind: str, deed: Callable[[], None]) -> None:
    during = Once(rig, deed)
    # small messages, so that rows are left to be read when the first have passed
    truth.check(kind, rig.ask(dict(truth.fields(kind)) | {"max_message_bytes": 262_144}))
    rig.passing.then = None
    assert during.done
    rig.rest()


@pytest.mark.parametrize("kind", KINDS)
def test_a_region_splits_in_the_middle(kind: str, own_tables: str, own_rig: Rig, admin: ClusterAdmin, truth: Truth) -> None:
    table = f"{own_tables}ztf"
    before = len(admin.regions(table))
    middle = truth.table("whole")["i:objectId"][len(truth.table("whole")) // 2].as_py()

    def split() -> None:
        admin.split(table, middle)
        wait_until(lambda: len(admin.regions(table)) > before, "the region is split")

    _ask_during(own_rig, truth, kind, split)
    truth.check(kind, own_rig.ask(truth.fields(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_region_moves_in_the_middle(kind: str, own_tables: str, own_rig: Rig, admin: ClusterAdmin, truth: Truth) -> None:
    table = f"{own_tables}ztf"

    def move() -> None:
        servers = admin.servers()
        assert len(servers) == 2
        for region in admin.regions(table):
            other = next(server for server in servers if server != region.server)
            admin.move(region.name, other)
        admin.flush(table)

    _ask_during(own_rig, truth, kind, move)


def _leases_that_expired(cluster: Cluster) -> int:
    return sum(len(EXPIRED.findall(cluster.log(name))) for name in SERVERS)


def test_a_reader_that_sleeps_past_the_lease_gets_every_row(cluster: Cluster, rig: Rig, truth: Truth) -> None:
    before = _leases_that_expired(cluster)
    _ask_during(rig, truth, "whole", lambda: wait_until(lambda: _leases_that_expired(cluster) > before, "a lease expires"))


@pytest.fixture
def mortal(cluster: Cluster, hbase_stores: HBaseStores, filled: str) -> Iterator[Cluster]:
    """The cluster without tables of other tests, since the regions of a dead server move one by one."""
    hbase_stores.drop_others(filled)
    yield cluster
    if cluster.kept:
        cluster.up()


@pytest.mark.kills_servers
@pytest.mark.timeout(600)
def test_a_region_server_is_killed_in_the_middle(mortal: Cluster, admin: ClusterAdmin, rig: Rig, truth: Truth) -> None:
    def kill(name: str) -> None:
        (server,) = (one for one in admin.servers() if int(one.split(",")[1]) == mortal.port(name))
        pid = mortal.pid(name)
        mortal.kill(name)
        wait_until(lambda: not is_running(pid), "the server is dead")
        admin.expire(server)

    _ask_during(rig, truth, "whole", lambda: kill("regionserver-1"))
    mortal.up()
    _ask_during(rig, truth, "objects", lambda: kill("regionserver-2"))
