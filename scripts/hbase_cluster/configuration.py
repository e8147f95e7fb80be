"""The configuration files of HDFS, HBase and Alertflight, made from ports and options."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from hbase_cluster.faults import ClusterFault

__all__ = [
    "DATANODES",
    "HOST",
    "Options",
    "find_free_base",
    "hdfs_url",
    "is_free",
    "ports_of",
    "write_configuration",
    "write_whole",
]

HOST = "127.0.0.1"
DATANODES = 2
USUAL = {"zookeeper": 2181, "namenode": 8020, "namenode-http": 9870, "master": 16000}
USUAL_DATANODE = {"": 9866, "-ipc": 9867, "-http": 9864}
USUAL_REGIONSERVER = 16020

# The web servers of the daemons need empty folders of these names to start.
WEBAPPS = [f"webapps/{name}" for name in ("hdfs", "datanode", "static")]
WEBAPPS += [f"hbase-webapps/{name}" for name in ("master", "regionserver", "static")]

LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p [%t] %c{2}: %m%n
rootLogger.level = ${sys:alertflight.level:-info}
rootLogger.appenderRef.console.ref = console
logger.audit.name = org.apache.hadoop.hdfs.server.namenode.FSNamesystem.audit
logger.audit.level = warn
logger.blocks.name = org.apache.hadoop.hdfs.StateChange
logger.blocks.level = warn
logger.transfers.name = org.apache.hadoop.hdfs.server.datanode
logger.transfers.level = warn
"""


@dataclass(frozen=True)
class Options:
    """The options of `up`, kept in cluster.json, so that dead daemons are restarted with the same options.

    Parameters
    ----------
    base
        The first port; None: the standard ports.
    session_timeout
        The seconds after which ZooKeeper considers a silent RegionServer dead.
    regionservers
        The number of RegionServers; 0: only HDFS.
    properties
        Other settings of HBase and HDFS.
    """

    base: int | None = None
    session_timeout: int = 600
    regionservers: int = 2
    properties: dict[str, str] = field(default_factory=dict)


def ports_of(options: Options) -> dict[str, int]:
    """Return every port by the name of its daemon, with its purpose where a daemon has several."""
    ports = dict(USUAL)
    for place in range(DATANODES):
        ports |= {f"datanode-{place + 1}{use}": port + 10 * place for use, port in USUAL_DATANODE.items()}
    ports |= {f"regionserver-{place + 1}": USUAL_REGIONSERVER + place for place in range(options.regionservers)}
    if options.base is None:
        return ports
    return {name: options.base + place for place, name in enumerate(ports)}


def find_free_base(options: Options) -> int:
    """Return the start of a block of free ports, below those that the system assigns to clients."""
    count = len(ports_of(options))
    for _ in range(1000):
        base = random.randrange(20000, 32000, 20)  # noqa: S311  (nothing secret)
        if all(is_free(port) for port in range(base, base + count)):
            return base
    raise ClusterFault(f"no {count} ports in a row are free between 20000 and 32000; choose some with --ports BASE")


def is_free(port: int) -> bool:
    """Return whether a daemon could listen on the port now."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does
        try:
            trial.bind((HOST, port))
        except OSError:
            return False
    return True


def write_configuration(folder: Path, options: Options) -> None:
    """Write conf/ for the daemons and alertflight.yml for the server."""
    conf = folder / "conf"
    for name in WEBAPPS:
        (conf / name).mkdir(parents=True, exist_ok=True)
    ports = ports_of(options)
    core = {"fs.defaultFS": _hdfs(ports), "hadoop.tmp.dir": str(folder / "tmp")}
    _write_site(conf / "core-site.xml", core)
    _write_site(conf / "hdfs-site.xml", _hdfs_settings(folder, ports) | options.properties)
    _write_site(conf / "hbase-site.xml", core | _hbase_settings(folder, ports, options) | options.properties)
    write_whole(conf / "log4j2.properties", LOGGING)
    lines = ["store: hbase", f"hbase: {{zookeeper: '{HOST}:{ports['zookeeper']}'}}", f"hdfs: {{url: '{_hdfs(ports)}'}}"]
    write_whole(folder / "alertflight.yml", "\n".join(lines) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically: readers see the old or the new one."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(text)
    unfinished.replace(path)


def hdfs_url(options: Options) -> str:
    """Return the URL of HDFS."""
    return _hdfs(ports_of(options))


def _hdfs(ports: Mapping[str, int]) -> str:
    return f"hdfs://{HOST}:{ports['namenode']}"


def _hdfs_settings(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """Return the settings shared by all HDFS daemons; a DataNode gets its folder and ports on its command line."""
    return {
        "dfs.namenode.rpc-address": f"{HOST}:{ports['namenode']}",
        "dfs.namenode.rpc-bind-host": HOST,
        "dfs.namenode.http-address": f"{HOST}:{ports['namenode-http']}",
        "dfs.namenode.name.dir": (folder / "data" / "namenode").as_uri(),
        "dfs.namenode.handler.count": "8",
        "dfs.namenode.fs-limits.min-block-size": "1024",  # tests want small blocks
        "dfs.namenode.safemode.extension": "0",
        "dfs.namenode.edits.noeditlogchannelflush": "true",  # a machine that loses power may lose these data
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        "dfs.permissions.enabled": "false",
        "dfs.replication": str(DATANODES),
        "dfs.heartbeat.interval": "1",
        "dfs.namenode.heartbeat.recheck-interval": "15000",  # a DataNode is dead after 40 s, not after 10 minutes
        "dfs.datanode.hostname": HOST,
        "dfs.datanode.use.datanode.hostname": "true",
        "dfs.client.use.datanode.hostname": "true",
    }


def _hbase_settings(folder: Path, ports: Mapping[str, int], options: Options) -> dict[str, str]:
    session = options.session_timeout * 1000
    return {
        "hbase.cluster.distributed": "true",
        "hbase.rootdir": f"{_hdfs(ports)}/hbase",
        "hbase.tmp.dir": str(folder / "tmp" / "hbase"),
        "hbase.wal.provider": "filesystem",
        "hbase.unsafe.stream.capability.enforce": "false",
        # ZooKeeper
        "hbase.zookeeper.quorum": HOST,
        "hbase.zookeeper.property.clientPort": str(ports["zookeeper"]),
        "hbase.zookeeper.property.clientPortAddress": HOST,
        "hbase.zookeeper.property.dataDir": str(folder / "data" / "zookeeper"),
        "hbase.zookeeper.property.admin.enableServer": "false",  # it would take port 8080
        "hbase.zookeeper.property.maxClientCnxns": "300",
        "hbase.zookeeper.property.tickTime": str(max(500, session // 20)),
        "hbase.zookeeper.property.maxSessionTimeout": str(max(session, 1000)),
        "zookeeper.session.timeout": str(session),
        # everything on this address
        "hbase.master.hostname": HOST,
        "hbase.master.ipc.address": HOST,
        "hbase.master.port": str(ports["master"]),
        "hbase.master.info.port": "-1",
        "hbase.unsafe.regionserver.hostname": HOST,
        "hbase.regionserver.ipc.address": HOST,
        "hbase.regionserver.info.port": "-1",
        # The master waits for all region servers, but not forever: mintostart would never end.
        "hbase.master.wait.on.regionservers.mintostart": "1",
        "hbase.master.wait.on.regionservers.maxtostart": str(options.regionservers),
        "hbase.master.wait.on.regionservers.timeout": "60000",
        # small and quick
        "hbase.regionserver.handler.count": "10",
        "hbase.regionserver.metahandler.count": "5",
        "hbase.regionserver.msginterval": "1000",
        "hbase.io.compress.lz4.codec": "org.apache.hadoop.io.compress.Lz4Codec",
    }


def _write_site(path: Path, settings: Mapping[str, str]) -> None:
    lines = [
        f"  <property><name>{escape(name)}</name><value>{escape(value)}</value></property>" for name, value in settings.items()
    ]
    write_whole(path, '<?xml version="1.0"?>\n<configuration>\n' + "\n".join(lines) + "\n</configuration>\n")
