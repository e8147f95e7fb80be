"""The state in cluster.json, for users of the cluster and for the next `up`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from hbase_cluster.configuration import HOST, Options, find_free_base, hdfs_url, is_free, ports_of, write_whole
from hbase_cluster.daemons import Cluster
from hbase_cluster.faults import ClusterFault

__all__ = ["Wishes", "choose", "forget_processes", "read_options", "save"]


@dataclass(frozen=True)
class Wishes:
    """The options on the command line; None if not given.

    Parameters
    ----------
    ports
        The first port, or `free`.
    session_timeout, regionservers
        As in Options.
    properties
        Other settings; an empty value removes an earlier one.
    """

    ports: int | Literal["free"] | None = None
    session_timeout: int | None = None
    regionservers: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


def read_options(folder: Path) -> Options:
    """Read the options of the last `up`; the defaults if there was none."""
    path = folder / "cluster.json"
    return Options(**json.loads(path.read_text())["options"]) if path.exists() else Options()


def choose(folder: Path, wishes: Wishes, *, running: bool) -> Options:
    """Return the saved options with the given ones; raise ClusterFault if running processes or data do not allow them."""
    saved = read_options(folder)
    properties = {name: value for name, value in {**saved.properties, **wishes.properties}.items() if value}
    options = replace(
        saved,
        session_timeout=wishes.session_timeout or saved.session_timeout,
        regionservers=saved.regionservers if wishes.regionservers is None else wishes.regionservers,
        properties=properties,
    )
    if isinstance(wishes.ports, int):
        options = replace(options, base=wishes.ports)
    elif wishes.ports == "free" and not (running or (saved.base and all(map(is_free, ports_of(options).values())))):
        options = replace(options, base=find_free_base(options))
    if running and options != saved:
        raise ClusterFault(f"the cluster in {folder} runs with other options: stop it first with scripts/cluster down")
    if options.base != saved.base and (folder / "data").exists():
        raise ClusterFault(f"the data in {folder} are bound to their ports: remove that folder, or choose another with --folder")
    return options


def save(cluster: Cluster) -> None:
    """Write cluster.json."""
    ports, running = ports_of(cluster.options), cluster.running()
    facts = {
        "zookeeper": f"{HOST}:{ports['zookeeper']}",
        "hdfs": hdfs_url(cluster.options),
        "conf": str(cluster.folder / "conf"),
        "lib": str(cluster.lib),
        "pids": {daemon.name: running[daemon.name][0] for daemon in cluster.daemons if daemon.name in running},
        "ports": ports,
        "options": asdict(cluster.options),
    }
    _write(cluster.folder, facts)


def forget_processes(folder: Path) -> None:
    """Record in cluster.json that no process runs."""
    if (folder / "cluster.json").exists():
        _write(folder, json.loads((folder / "cluster.json").read_text()) | {"pids": {}})


def _write(folder: Path, facts: Mapping[str, object]) -> None:
    write_whole(folder / "cluster.json", json.dumps(facts, indent=2) + "\n")
