"""Services of HDFS that do not answer: cutouts fail by name until they do, and rows are answered all the while."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from archives import Answered
from clusters import Cluster
from dropping_proxy import dropping
from hbase_rig import Broken, Rig, Truth
from server_health import health
from waiting import wait_until

from flight_server.execution import cutout_columns
from flight_server.storage.blocks import cutouts, hdfs_files

SECONDS = 120.0
WAITING = {"hdfs-probe", "blocks"}  # threads that read from HDFS


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (cutouts, hdfs_files):
        monkeypatch.setattr(module, "STALL_SECONDS", 1.0)
    yield
    # the interpreter aborts if a thread comes back from the client while it ends
    wait_until(lambda: not WAITING & {thread.name for thread in threading.enumerate()}, "all reads have ended", SECONDS)


def state(rig: Rig) -> dict[str, Any]:
    with rig.client() as client:
        return health(client)


def outages(rig: Rig) -> list[dict[str, Any]]:
    return list(state(rig)["outages"])


def check_lost(rig: Rig, truth: Truth, words: str) -> None:
    """Check that cutouts fail with the loss of a service, again at once, and that rows are answered."""
    for _ in range(2):
        found = rig.try_to_ask(truth.fields("stamps"))
        assert isinstance(found, Broken)
        assert found.error.code == "backend_lost"
        assert words in found.error.message
        assert found.error.info()["retry"] == "here"
    truth.check("object", rig.ask(truth.fields("object")))
    said = state(rig)
    assert any(words in one["message"] for one in said["outages"])
    assert said["tables"]["ztf"] == "ok", "rows are answered"
    assert not any(words in message for message in said["faults"].values())


def check_again(rig: Rig, truth: Truth) -> None:
    wait_until(lambda: isinstance(rig.try_to_ask(truth.fields("stamps")), Answered), "HDFS answers again", SECONDS)
    truth.check("stamps", rig.ask(truth.fields("stamps")))
    wait_until(lambda: not outages(rig), "health sees it too")


def test_a_name_node_that_stops(cluster: Cluster, make_rig: Callable[..., Rig], truth: Truth) -> None:
    rig = make_rig()
    truth.check("stamps", rig.ask(truth.fields("stamps")))
    address = cluster.hdfs.removeprefix("hdfs://")
    with cluster.paused("namenode"):
        check_lost(rig, truth, f"the NameNode of HDFS at {address} does not answer")
    check_again(rig, truth)


def test_data_nodes_that_stop(cluster: Cluster, make_rig: Callable[..., Rig], truth: Truth) -> None:
    rig = make_rig()
    truth.check("stamps", rig.ask(truth.fields("stamps")))
    with cluster.paused("datanode-1", "datanode-2"):
        check_lost(rig, truth, "no DataNode of HDFS returns the block")
    check_again(rig, truth)


@pytest.mark.parametrize("names", [("namenode",), pytest.param(("datanode-1", "datanode-2"), marks=pytest.mark.long)])
def test_an_answer_under_way_goes_on_when_hdfs_does(
    cluster: Cluster, make_rig: Callable[..., Rig], truth: Truth, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    for name in ("FIRST_ROWS", "MOST_ROWS"):
        monkeypatch.setattr(cutout_columns, name, 4)
    rig = make_rig()
    calls = itertools.count(1)
    begin = rig.store.cutouts.begin
    with ExitStack() as pause:

        def resume() -> None:
            wait_until(rig.store.cutouts.outages, "the outage is noticed", SECONDS)
            pause.close()

        def stopping(*words: Any) -> Any:
            if next(calls) == 5:  # the rows of the calls before were sent
                pause.enter_context(cluster.paused(*names))
                threading.Thread(target=resume).start()
            return begin(*words)

        monkeypatch.setattr(rig.store.cutouts, "begin", stopping)
        answer = rig.ask(truth.fields("stamps"))
    truth.check("stamps", answer)
    assert next(calls) > 6, "the read was begun again"


@pytest.mark.long
def test_a_name_node_behind_a_cut_network(cluster: Cluster, make_rig: Callable[..., Rig], truth: Truth) -> None:
    with dropping(cluster.port("namenode")) as proxy:
        rig = make_rig(hdfs={"url": f"hdfs://127.0.0.1:{proxy.port}"})
        truth.check("stamps", rig.ask(truth.fields("stamps")))
        proxy.drops = True
        check_lost(rig, truth, f"the NameNode of HDFS at 127.0.0.1:{proxy.port} does not answer")
        proxy.drops = False
        check_again(rig, truth)
        rig.close()
