"""The measured cluster: a temporary one for the run, or an existing one."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

__all__ = ["Cluster", "cluster"]

COMMAND = Path(__file__).resolve().parents[2] / "cluster"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster; the files of the benchmark are in its folder."""

    folder: Path

    @property
    def zookeeper(self) -> str:
        """Host and port."""
        return str(self._said()["zookeeper"])

    @property
    def hdfs(self) -> str:
        """The name node's URL."""
        return str(self._said()["hdfs"])

    @property
    def regionservers(self) -> list[int]:
        """Their process IDs."""
        return [pid for name, pid in self._said()["pids"].items() if name.startswith("regionserver")]

    def settings(self, prefix: str, **sections: Mapping[str, Any]) -> Path:
        """Write the settings of a server with the table prefix `prefix`; return the file."""
        given = {
            "store": "hbase",
            "server": {"port": 0},
            "hbase": {"zookeeper": self.zookeeper, "prefix": prefix},
            "hdfs": {"url": self.hdfs, "archive": f"/{prefix.rstrip('_')}"},
            **sections,
        }
        file = self.folder / f"{prefix}settings.yml"
        file.write_text(json.dumps(given))  # JSON is YAML
        return file

    def _said(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads((self.folder / "cluster.json").read_text())
        return said


@contextmanager
def cluster(folder: Path | None, *options: str) -> Iterator[Cluster]:
    """Return the cluster of a folder, which is started if needed and kept running; without a folder, a cluster for this run.

    The options are those of a new cluster.
    """
    if folder is not None:
        new = not (folder / "cluster.json").exists()
        _run("up", folder.resolve(), *(("--ports", "free", *options) if new else ()))
        yield Cluster(folder.resolve())
        return
    with tempfile.TemporaryDirectory(prefix="alertflight-bench-") as made:
        try:
            _run("up", Path(made), "--ports", "free", *options)
            yield Cluster(Path(made))
        finally:
            _run("down", Path(made))


def _run(command: str, folder: Path, *options: str) -> None:
    click.echo(f"scripts/cluster {command} --folder {folder} ...", err=True)
    words = [sys.executable, str(COMMAND), command, "--folder", str(folder), *options]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
    if done.returncode:
        raise click.ClickException(f"the cluster does not start:\n{done.stderr or done.stdout}")
