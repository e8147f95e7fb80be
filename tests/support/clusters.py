"""Real clusters for tests: HDFS and HBase started like with `scripts/cluster`, in a folder of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alert_data import ROOT

from flight_server.settings import Settings, load_settings

SHARED = "statistics_class"


@dataclass(frozen=True)
class Cluster:
    """A running cluster; if it is kept, its processes go on running after the tests."""

    folder: Path
    kept: bool = False

    def _said(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads((self.folder / "cluster.json").read_text())
        return said

    @property
    def zookeeper(self) -> str:
        return str(self._said()["zookeeper"])

    @property
    def hdfs(self) -> str:
        return str(self._said()["hdfs"])

    @property
    def classpath(self) -> str:
        """The class path of Java programs that connect to it."""
        said = self._said()
        return f"{said['conf']}:{said['lib']}/*"

    def pid(self, name: str) -> int:
        """Return the process of a daemon, such as `regionserver-1`."""
        return int((self.folder / "pids" / f"{name}.pid").read_text())

    def kill(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGKILL)

    @contextlib.contextmanager
    def paused(self, *names: str) -> Iterator[None]:
        """Stop daemons without ending them, so that they take connections and answer nothing, until the end of the block."""
        pids = [self.pid(name) for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def port(self, name: str) -> int:
        return int(self._said()["ports"][name])

    def log(self, name: str) -> str:
        """Return the output of a daemon so far."""
        return (self.folder / "logs" / f"{name}.log").read_text(errors="replace")

    def up(self) -> None:
        """Start the daemons that do not run."""
        _run("up", self.folder)

    def stop(self) -> None:
        _run("down", self.folder)

    def settings(self, prefix: str, **sections: dict[str, Any]) -> Settings:
        """Return settings of a store whose table names begin with `prefix`; further sections are merged in."""
        given: dict[str, Any] = {
            "store": "hbase",
            "server": {"port": 0},
            # one table for all installations by default, but the tests here have their own
            "hbase": {"zookeeper": self.zookeeper, "prefix": prefix, "tables": {SHARED: f"{prefix}{SHARED}"}},
            "hdfs": {"url": self.hdfs, "archive": f"/{prefix or 'archive'}"},
        }
        for section, words in sections.items():
            given[section] = given.get(section, {}) | words
        file = self.folder / f"settings-{prefix}.yml"
        file.write_text(json.dumps(given))  # JSON is YAML
        return load_settings(file, environment={})


def start_cluster(folder: Path, *options: str) -> Cluster:
    """Start a cluster on free ports; the caller stops it."""
    _run("up", folder, "--ports", "free", *options)
    return Cluster(folder)


def _run(command: str, folder: Path, *options: str) -> None:
    words = [sys.executable, str(ROOT / "scripts" / "cluster"), command, "--folder", str(folder), *options]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"scripts/cluster {command} failed:\n{done.stdout}{done.stderr}"
