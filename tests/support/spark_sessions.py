"""Spark with two executors, for tests: a driver program that runs reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from alert_data import ROOT
from spark_environment import spark_python

DRIVER = ROOT / "tests" / "spark" / "driver.py"
SECONDS = 120
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # short programs: less compiling, fewer threads
CONF = {
    "spark.master": "local-cluster[2,1,1024]",  # two executors
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.extraJavaOptions": QUICK,
    "spark.executor.extraJavaOptions": QUICK,
    "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s",
    "spark.scheduler.minRegisteredResourcesRatio": "1",  # no task before both executors are there
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
}


@dataclass(frozen=True)
class Answer:
    """The result of a read: its rows, as Arrow, and how Spark read them."""

    table: pa.Table
    schema: dict[str, Any]
    partitions: int
    folders: list[str] = field(default_factory=list)


class ReadFailed(Exception):
    """The error that Spark raises in a read."""


class Session:
    """A running Spark session."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def read(self, options: dict[str, str], **more: Any) -> Answer:
        """Run a read in the driver program; see `driver.py` for the requests."""
        file = self._folder / "rows.arrow"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"options": options, "to": str(file)} | more) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the driver program ended:\n{(self._folder / 'log').read_text()[-5000:]}"
        said = json.loads(line)
        if "error" in said:
            raise ReadFailed(said["error"])
        with pa.ipc.open_file(file) as rows:
            return Answer(rows.read_all(), **said)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a driver program: it listens on this machine only, and writes to one folder."""
    home = folder / "spark"  # executors write to a folder `work` in it
    home.mkdir()
    (packaged,) = spark_python().parent.parent.glob("lib/python*/site-packages/pyspark")
    for path in packaged.iterdir():
        (home / path.name).symlink_to(path)
    (home / "conf").mkdir()
    (home / "conf" / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in CONF.items()))
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "JAVA_HOME"}}
    return kept | {
        "HOME": str(folder),
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "PYSPARK_PYTHON": str(spark_python()),
        "PYSPARK_DRIVER_PYTHON": str(spark_python()),
    }


@contextmanager
def program(
    words: Sequence[str | Path], folder: Path, further: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start a driver program, and end it with all of its processes. Its output is in the file `log` of the folder."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [spark_python(), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
            env=environment(folder) | (further or {}),
            start_new_session=True,  # Java and the executors are its group
        )
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def spark_session(folder: Path) -> Iterator[Session]:
    """Start Spark."""
    with program([DRIVER], folder) as process:
        yield Session(process, folder)
        process.communicate(timeout=SECONDS)  # with no more to read it ends by itself
