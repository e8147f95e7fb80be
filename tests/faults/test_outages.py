"""Services of HBase that do not answer: named soon, refused at once until they answer, and answers under way go on."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pyarrow.flight as fl
import pytest
from archives import Answered, ask
from cluster_admin import ClusterAdmin
from clusters import Cluster
from dropping_proxy import dropping
from hbase_rig import Broken, Rig, Truth
from processes import COMMAND, serving
from server_health import health
from waiting import wait_until

SERVERS = ("regionserver-1", "regionserver-2")
QUICK = {"gateway": {"patience": 1.0}}
SECONDS = 120.0


def state(rig: Rig) -> dict[str, Any]:
    with rig.client() as client:
        return health(client)


def check_lost(answer: Answered | Broken, service: str) -> str:
    """Check that an answer ended with the loss of a service; return the message."""
    assert isinstance(answer, Broken)
    assert answer.error.code == "backend_lost"
    assert answer.error.info()["retry"] == "here"
    assert service in answer.error.message
    assert "ask for less" not in answer.error.message
    return answer.error.message


def wait_for_answers(rig: Rig, truth: Truth, name: str) -> None:
    wait_until(lambda: isinstance(rig.try_to_ask(truth.fields(name)), Answered), "the service answers again", SECONDS)
    truth.check(name, rig.ask(truth.fields(name)))


@pytest.fixture
def quick_rig(make_rig: Callable[..., Rig], truth: Truth) -> Rig:
    rig = make_rig(**QUICK)
    truth.check("object", rig.ask(truth.fields("object")))
    return rig


def test_servers_that_stop_are_named_and_refused_until_they_answer(
    cluster: Cluster, quick_rig: Rig, truth: Truth, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    with cluster.paused(*SERVERS):
        message = check_lost(quick_rig.try_to_ask(truth.fields("object")), "the RegionServer at 127.0.0.1:")
        assert any(f":{cluster.port(name)} " in message for name in SERVERS)
        asked: list[str] = []
        call = quick_rig.gateway.call
        monkeypatch.setattr(quick_rig.gateway, "call", lambda name, **words: asked.append(name) or call(name, **words))
        for kind in ("object", "whole", "limits"):
            check_lost(quick_rig.try_to_ask(truth.fields(kind)), message.partition(":")[0])
        assert set(asked) <= {"probe"}, "HBase is asked for no rows"
        said = state(quick_rig)
        assert said["outages"][0]["service"] == "RegionServer"
        assert set(said["tables"].values()) >= {"backend_lost"}
    wait_for_answers(quick_rig, truth, "object")
    wait_until(lambda: not state(quick_rig)["outages"], "health sees it too")
    assert state(quick_rig)["tables"]["ztf"] == "ok"
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert "answers again after" in text
    assert "org.apache" not in text
    assert "java" not in text.lower()
    quick_rig.rest()


@pytest.mark.parametrize("kind", ["whole", "objects"])
def test_an_answer_under_way_goes_on_when_the_servers_do(cluster: Cluster, quick_rig: Rig, truth: Truth, kind: str) -> None:
    with ExitStack() as pause:
        stopped = threading.Event()

        def resume() -> None:
            wait_until(quick_rig.store._outages.present, "the outage is noticed", SECONDS)
            pause.close()

        def stop(count: int) -> None:
            if count >= 1 and not stopped.is_set():
                stopped.set()
                pause.enter_context(cluster.paused(*SERVERS))
                threading.Thread(target=resume).start()

        quick_rig.passing.then = stop
        answer = quick_rig.ask(dict(truth.fields(kind)) | {"max_message_bytes": 262_144})
        quick_rig.passing.then = None
        assert stopped.is_set()
    truth.check(kind, answer)
    quick_rig.rest()


def port_of(server: str) -> int:
    return int(server.split(",")[1])


def test_tickets_of_other_regions_are_answered(
    cluster: Cluster, admin: ClusterAdmin, own_tables: str, make_rig: Callable[..., Rig], truth: Truth
) -> None:
    table = f"{own_tables}ztf"
    names = sorted(set(truth.table("whole")["i:objectId"].to_pylist()))
    before = len(admin.regions(table))
    admin.split(table, names[len(names) // 2])
    wait_until(lambda: len(admin.regions(table)) > before, "the region is split")
    (meta,) = admin.regions("hbase:meta")
    other = next(name for name in SERVERS if cluster.port(name) != port_of(meta.server))
    with_meta, without_meta = sorted(admin.servers(), key=lambda server: port_of(server) == cluster.port(other))
    for region in admin.regions(table):
        target = without_meta if region.start <= names[0].encode() else with_meta
        if region.server != target:
            admin.move(region.name, target)
    rig = make_rig(own_tables, **QUICK)
    fields = {"table": "ztf", "columns": ["i:objectId", "i:jd"]}
    assert rig.ask(fields | {"ids": [names[0], names[-1]]}).record["objects"] == 2
    with cluster.paused(other):
        message = check_lost(rig.try_to_ask(fields | {"ids": [names[0]]}), f"127.0.0.1:{cluster.port(other)}")
        assert f"table {table}, region from" in message
        assert rig.ask(fields | {"ids": [names[-1]]}).record["objects"] == 1
        check_lost(rig.try_to_ask(fields | {"ids": [names[-1], names[0]]}), "RegionServer")
        said = state(rig)
        assert (said["tables"]["ztf"], said["tables"]["ztf.upper"]) == ("backend_lost", "ok")
    wait_for_answers(rig, truth, "whole")
    rig.rest()


def test_a_server_that_starts_without_zookeeper_fails_or_waits(cluster: Cluster, filled: str, truth: Truth) -> None:
    cluster.settings(filled)
    config = cluster.folder / f"settings-{filled}.yml"
    command = [COMMAND, "serve", "--port", "0", "--config", config]
    with ExitStack() as pause:
        pause.enter_context(cluster.paused("zookeeper"))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert f"the ZooKeeper at {cluster.zookeeper} does not answer" in done.stderr
        assert "Traceback" not in done.stderr
        waits = f"the ZooKeeper at {cluster.zookeeper} does not answer; waiting for it"

        def resume(line: str) -> None:
            if waits in line:
                pause.close()

        with serving([*command, "--wait", "600"], heard=resume) as running, fl.connect(running.url) as client:
            assert waits in running.printed
            truth.check("whole", ask(client, **truth.fields("whole")))


@pytest.mark.long
def test_a_zookeeper_behind_a_cut_network(cluster: Cluster, make_rig: Callable[..., Rig], truth: Truth) -> None:
    with dropping(int(cluster.zookeeper.split(":")[1])) as proxy:
        rig = make_rig(hbase={"zookeeper": f"127.0.0.1:{proxy.port}"}, **QUICK)
        truth.check("object", rig.ask(truth.fields("object")))
        assert state(rig)["outages"] == []
        proxy.drops = True
        wait_until(lambda: state(rig)["outages"], "health looks itself", SECONDS)
        assert state(rig)["outages"][0]["message"] == f"the ZooKeeper at 127.0.0.1:{proxy.port} does not answer"
        check_lost(rig.try_to_ask(truth.fields("object")), "ZooKeeper")
        proxy.drops = False
        wait_for_answers(rig, truth, "object")
        rig.close()
