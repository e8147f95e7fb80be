"""Regions that move, split, or lose their server in the middle of a scan, and scanners that are given up: each row once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from cluster_admin import ClusterAdmin
from clusters import Cluster
from hbase_rig import Rig, Truth
from waiting import wait_until

KINDS = ("whole", "objects")


class Once:
    """Does something after the first batch of an answer has passed, and notes that it was done."""

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
def test_a_region_splits_in_the_middle(
    kind: str, own_tables: str, make_rig: Callable[..., Rig], admin: ClusterAdmin, truth: Truth
) -> None:
    rig = make_rig(own_tables)
    table = f"{own_tables}ztf"
    before = len(admin.regions(table))
    middle = truth.table("whole")["i:objectId"][len(truth.table("whole")) // 2].as_py()

    def split() -> None:
        admin.split(table, middle)
        wait_until(lambda: len(admin.regions(table)) > before, "the region is split")

    _ask_during(rig, truth, kind, split)
    truth.check(kind, rig.ask(truth.fields(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_region_moves_in_the_middle(
    kind: str, own_tables: str, make_rig: Callable[..., Rig], admin: ClusterAdmin, truth: Truth
) -> None:
    rig = make_rig(own_tables)
    table = f"{own_tables}ztf"

    def move() -> None:
        servers = admin.servers()
        assert len(servers) == 2
        for region in admin.regions(table):
            other = next(server for server in servers if server != region.server)
            admin.move(region.name, other)
        admin.flush(table)

    _ask_during(rig, truth, kind, move)


@pytest.fixture
def mortal_rig(mortal: Cluster, mortal_tables: str) -> Iterator[Rig]:
    rig = Rig(mortal.settings(mortal_tables, hbase={"properties": {"hbase.client.scanner.timeout.period": "60000"}}))
    yield rig
    rig.close()


@pytest.mark.timeout(600)
def test_a_region_server_is_killed_in_the_middle(mortal: Cluster, mortal_rig: Rig, truth: Truth) -> None:
    _ask_during(mortal_rig, truth, "whole", lambda: mortal.kill("regionserver-1"))
    mortal.up()
    _ask_during(mortal_rig, truth, "objects", lambda: mortal.kill("regionserver-2"))


def test_a_reader_that_sleeps_past_the_lease_gets_every_row(mortal_rig: Rig, truth: Truth) -> None:
    expired = threading.Event()

    def sleep() -> None:
        # three leases; nothing that a client can see tells that HBase has given a scanner up
        expired.wait(9)

    _ask_during(mortal_rig, truth, "whole", sleep)
