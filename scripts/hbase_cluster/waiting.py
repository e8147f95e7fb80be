"""Waiting for the cluster: HDFS by the NameNode's own counts, HBase until a table can be created."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Callable, Mapping

from hbase_cluster.artifacts import HERE
from hbase_cluster.configuration import DATANODES, HOST, ports_of
from hbase_cluster.daemons import PAUSE, SMALL, Cluster
from hbase_cluster.faults import ClusterFault

__all__ = ["LIMIT", "listens", "wait_for_hdfs", "wait_for_table"]

LIMIT = 600  # seconds; a machine shared with others may stall for long
SILENT = 3  # seconds after which a DataNode no longer counts as live


def listens(port: int) -> bool:
    """Return whether a process accepts connections on the port."""
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except OSError:
        return False
    return True


def wait_for_hdfs(cluster: Cluster) -> None:
    """Wait until ZooKeeper, if used, listens, and HDFS has left safe mode with all DataNodes alive."""
    ports = ports_of(cluster.options)
    below = [daemon.port for daemon in cluster.daemons if not daemon.of_hbase]
    _wait(cluster, "HDFS", lambda: all(map(listens, below)) and _hdfs_is_ready(ports["namenode-http"]))


def wait_for_table(cluster: Cluster, started: Mapping[str, float]) -> None:
    """Wait until all RegionServers work and a table was created and dropped.

    Parameters
    ----------
    cluster
        The cluster.
    started
        The start times, by name, of the daemons that this `up` started.
    """
    servers = [daemon for daemon in cluster.daemons if daemon.name.startswith("regionserver")]
    words = [f"{server.port}:{int(started.get(server.name, 0) * 1000)}" for server in servers]
    command = cluster.command("ready", str(HERE / "Ready.java"), "128m", [*SMALL, "-Dalertflight.level=error"])
    process = cluster.spawn("ready", [*command, str(LIMIT), *words])
    try:
        _wait(cluster, "HBase", lambda: process.poll() is not None)
    finally:
        if process.poll() is None:
            process.kill()
        code = process.wait()
    if code != 0:
        raise ClusterFault(f"HBase was not ready within {LIMIT} s; the last tries:\n{cluster.last_lines('ready')}")


def _wait(cluster: Cluster, what: str, is_ready: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    started = [daemon.name for daemon in cluster.daemons if cluster.pid_file(daemon.name).exists()]
    missed: set[str] = set()
    while not is_ready():
        running = cluster.running()
        for name in started:
            if name in missed and name not in running:  # twice: a java that is a script calls exec again
                raise ClusterFault(f"{name} died while it started; its log ends with\n{cluster.last_lines(name)}")
        missed = {name for name in started if name not in running}
        if time.monotonic() > end:
            raise ClusterFault(f"{what} was not ready within {LIMIT} s; look into {cluster.folder}/logs")
        time.sleep(PAUSE)


def _hdfs_is_ready(port: int) -> bool:
    """Return whether the NameNode reports readiness; bypasses proxies of the environment."""
    address = f"http://{HOST}:{port}/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo"
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=10) as reply:
            facts = {name: value for bean in json.load(reply)["beans"] for name, value in bean.items()}
    except OSError:
        return False
    heard = [node for node in json.loads(facts.get("LiveNodes", "{}")).values() if node["lastContact"] < SILENT]
    return facts.get("Safemode") == "" and len(heard) == DATANODES
