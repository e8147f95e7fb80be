"""Replies of the gateway that are lost, late, cut or doubled: nothing is done twice, and no answer belongs to another call."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster_admin import ClusterAdmin
from clusters import Cluster
from hbase_rig import Broken, Rig, Truth, open_rig
from hbase_stores import HBaseStores
from py4j_proxy import Deed, Proxy

from flight_server.catalog.catalog import load_catalog
from flight_server.ingest import ingest
from flight_server.storage.hbase.schema_rows import WRITER

SHORT = {"call_timeout": 5.0}
DEEDS: tuple[Deed, ...] = ("drop", "cut", "twice", "break")
RANDOM_QUERIES = 40


@dataclass
class Proxied:
    """A server with a proxy between it and its gateway."""

    rig: Rig
    proxy: Proxy


@pytest.fixture(scope="module")
def shared(cluster: Cluster, filled: str) -> Iterator[Proxied]:
    proxy = Proxy()
    rig = open_rig(cluster, filled, proxy.reached_at)
    yield Proxied(rig, proxy)
    rig.close()
    proxy.close()


@pytest.fixture
def proxied(shared: Proxied) -> Proxied:
    """A server behind a proxy without history; all replies pass."""
    shared.proxy.begin()
    shared.rig.pid()
    return shared


@pytest.fixture
def hasty(make_rig: Callable[..., Rig]) -> Iterator[Proxied]:
    """A server behind a proxy with a short call timeout."""
    proxy = Proxy()
    yield Proxied(make_rig(reached_at=proxy.reached_at, gateway=SHORT), proxy)
    proxy.close()


def once(operation: str, deed: Deed, *numbers: int) -> Callable[[str, int], Deed]:
    """Apply a fault to the next reply of an operation, or to the replies with these numbers."""
    counted = 0

    def choose(called: str, _number: int) -> Deed:
        nonlocal counted
        counted += called == operation
        return deed if called == operation and counted in (numbers or {1}) else "pass"

    return choose


def runs_opened(rig: Rig) -> int:
    """Return the number of scans and writes that the gateway has opened so far; it numbers them."""
    opened = rig.gateway.call("open-write")
    assert rig.gateway.call("cancel", id=opened["id"])
    return int(opened["id"])


@pytest.mark.parametrize("deed", DEEDS)
def test_a_scan_is_opened_once(deed: Deed, proxied: Proxied, truth: Truth) -> None:
    rig, proxy = proxied.rig, proxied.proxy
    starts = rig.gateway.starts
    for kind in ("object", "objects", "narrow"):
        before = runs_opened(rig)
        proxy.choose = once("open-scan", deed)
        truth.check(kind, rig.ask(truth.fields(kind)))
        truth.check("object", rig.ask(truth.fields("object")))
        proxy.begin()
        assert runs_opened(rig) == before + 3, "two scans, and the question itself"
        rig.rest()
    assert rig.gateway.starts == starts


def test_a_late_reply_is_nobody_elses(hasty: Proxied, truth: Truth) -> None:
    rig, proxy = hasty.rig, hasty.proxy
    before = runs_opened(rig)
    proxy.choose = once("open-scan", "hold")
    truth.check("objects", rig.ask(truth.fields("objects")))
    proxy.release()  # now it comes, long after anybody waits for it
    truth.check("object", rig.ask(truth.fields("object")))
    truth.check("narrow", rig.ask(truth.fields("narrow")))
    assert len(proxy.deeds("hold")) == 1
    assert runs_opened(rig) == before + 4
    assert rig.gateway.starts == 1
    rig.rest()


def test_a_gateway_that_answers_no_call_is_replaced(hasty: Proxied, truth: Truth) -> None:
    rig, proxy = hasty.rig, hasty.proxy
    first = rig.pid()
    proxy.choose = once("open-scan", "hold", 1, 2)
    truth.check("objects", rig.ask(truth.fields("objects")))
    assert len(proxy.deeds("hold")) == 2
    assert rig.gateway.starts == 2
    assert rig.pid() != first
    rig.rest()


@pytest.mark.parametrize("deed", DEEDS)
def test_schemas_are_each_tables_own(deed: Deed, proxied: Proxied) -> None:
    rig, proxy = proxied.rig, proxied.proxy
    starts = rig.gateway.starts
    known = rig.store.view().columns
    assert len(known) > 2
    for operation, number in (("tables", 1), ("schema-rows", 1), ("schema-rows", 2), ("health", 1)):
        proxy.choose = once(operation, deed, number)
        rig.health()
        rig.store.refresh()
        assert rig.store.view().columns == known
    assert len(proxy.deeds(deed)) == 4
    assert rig.gateway.starts == starts


def test_a_connection_that_cannot_begin_is_begun_again(proxied: Proxied, truth: Truth) -> None:
    rig, proxy = proxied.rig, proxied.proxy
    starts = rig.gateway.starts
    for deed in DEEDS:
        rig.gateway._running_process().java.close()  # the connections that have begun
        proxy.choose = once("authentication", deed)
        truth.check("object", rig.ask(truth.fields("object")))
        truth.check("object", rig.ask(truth.fields("object")))
        assert len(proxy.deeds(deed)) == 1
    assert rig.gateway.starts == starts


@pytest.mark.parametrize("deed", DEEDS)
def test_a_table_is_made_once(deed: Deed, proxied: Proxied, admin: ClusterAdmin, filled: str) -> None:
    name = f"{filled}made-{deed}"
    words = {"name": name, "families": ["i", "d"], "splits": ["m"], "compression": "NONE"}
    proxied.proxy.choose = once("create-table", deed)
    try:
        assert proxied.rig.gateway.call("create-table", **words) is True, "the reply is that of a second making"
        assert proxied.rig.gateway.call("create-table", **words) is False
        assert len(admin.regions(name)) == 2
    finally:
        admin.drop(name)
    assert len(proxied.proxy.deeds(deed)) == 1


@pytest.mark.parametrize("deed", ["drop", "twice"])
def test_an_ingest_is_whole(
    deed: Deed, make_rig: Callable[..., Rig], hbase_stores: HBaseStores, admin: ClusterAdmin, flood: Path
) -> None:
    """The first reply to every operation of an ingest is lost."""
    prefix = hbase_stores.prefix()
    proxy = Proxy()
    rig = make_rig(prefix=prefix, reached_at=proxy.reached_at)
    seen: set[str] = set()

    def choose(operation: str, _number: int) -> Deed:
        new = operation not in seen and operation != "authentication"
        seen.add(operation)
        return deed if new else "pass"

    proxy.choose = choose
    try:
        report = ingest(rig.store, load_catalog(), [flood / "stamped"])
        assert not report.failures
        assert {"create-table", "open-write", "commit", "schema-rows", "open-scan"} <= seen
        assert rig.gateway.starts == 1
        rows = {name: len(admin.rows(prefix + name).keys() - {WRITER.encode()}) for name in report.rows}
        assert rows == {name: count + 1 for name, count in report.rows.items()}, "each row, and the schema row"
        rig.rest()
    finally:
        rig.close()
        proxy.close()
        admin.forget(prefix)


def test_replies_that_go_astray_at_random(proxied: Proxied, truth: Truth) -> None:
    rig, proxy = proxied.rig, proxied.proxy
    chance = random.Random(5)
    deeds: tuple[Deed, ...] = (*["pass"] * 16, *DEEDS)  # type: ignore[assignment]
    proxy.choose = lambda _operation, _number: chance.choice(deeds)
    right = 0
    for turn in range(RANDOM_QUERIES):
        kind = ("object", "narrow", "stamps")[turn % 3]
        found = rig.try_to_ask(truth.fields(kind))
        if isinstance(found, Broken):
            assert found.error.code == "backend_lost", repr(found.error)
            truth.check_beginning(kind, found)
        else:
            truth.check(kind, found)
            right += 1
    assert right > RANDOM_QUERIES // 2
    proxy.begin()
    truth.check("whole", rig.ask(truth.fields("whole")))
    rig.rest()
