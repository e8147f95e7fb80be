"""The Java side of the references: compiled once per run, kept running, with one request per line."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from hbase_bridge.faults import BridgeFault
from hbase_bridge.jar import find_jar

__all__ = ["RawScanner", "Scanned", "Way", "compiled", "java"]

SOURCES = Path(__file__).resolve().parents[1] / "java"
# as the gateway runs, with more heap
FLAGS = ["-Xmx1g", "-XX:+UseParallelGC", "-Djava.net.preferIPv4Stack=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
FLAGS += [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.lang", "java.nio", "sun.nio.ch")]
FLAGS += ["--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED"]
MIB = 1 << 20
Ranges = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to read with the HBase client.

    Parameters
    ----------
    named
        Whether columns are named; otherwise whole families are read.
    by
        `range`: one scan per range; `region`: one filtered scan for the ranges of each region.
    parts
        The number of scans per region.
    bytes
        The largest size of a server's response.
    prefetch
        Whether the client requests the next response ahead.
    cache
        Whether the servers cache the blocks.
    asynchronous
        Whether the scanner of the asynchronous client is used.
    """

    named: bool = False
    by: str = "range"
    parts: int = 1
    bytes: int = 2 * MIB
    prefetch: bool = False
    cache: bool = True
    asynchronous: bool = False

    def __str__(self) -> str:
        """Return a short description."""
        scans = "a scan a range" if self.by == "range" else f"{self.parts} filtered scan(s) a region"
        words = ["columns by name" if self.named else "whole families", scans, f"{self.bytes >> 10} KiB an answer"]
        further = {"prefetch": self.prefetch, "blocks not cached": not self.cache, "asynchronous client": self.asynchronous}
        return ", ".join([*words, *(name for name, is_so in further.items() if is_so)])


@dataclass(frozen=True, slots=True)
class Scanned:
    """The times and the results of a scan."""

    ms: float
    rows: int
    cells: int


class RawScanner:
    """The HBase client's own scanner in a separate process, which measures its times.

    Parameters
    ----------
    process
        The process of Reference.java.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def ask(self, operation: str, **words: Any) -> Any:
        """Request an operation; return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"operation": operation, **words}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"fault": "it ended"}
        if isinstance(answer, dict) and "fault" in answer:
            raise click.ClickException(f"the raw scanner cannot {operation}: {answer['fault']}")
        return answer

    def scan(self, table: str, ranges: Ranges, columns: Sequence[str], way: Way) -> Scanned:
        """Scan columns of ranges of rows."""
        names = {"columns": columns} if way.named else {"families": sorted({name.partition(":")[0] for name in columns})}
        words = {name: value for name, value in asdict(way).items() if name != "named"}
        found = self.ask("scan", table=table, ranges=ranges, **names, **words)
        return Scanned(found["ns"] / 1e6, found["rows"], found["cells"])


@contextmanager
def compiled() -> Iterator[str]:
    """Compile the programs; yield their class path."""
    click.echo("compiling the references (and the gateway, if it is new) ...", err=True)
    try:
        jar = find_jar()
    except BridgeFault as fault:
        raise click.ClickException(fault.message) from fault
    compiler = shutil.which("javac")
    if compiler is None:
        raise click.ClickException("there is no javac: install a JDK (Debian: apt install openjdk-17-jdk-headless)")
    with tempfile.TemporaryDirectory(prefix="alertflight-bench-") as folder:
        jar = Path(shutil.copy(jar, folder))  # Java reopens it repeatedly, and a build may delete the old one
        words = [compiler, "-cp", str(jar), "-d", folder, *(str(file) for file in sorted(SOURCES.glob("*.java")))]
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
        if done.returncode:
            raise click.ClickException(f"javac says:\n{done.stderr}")
        yield f"{folder}:{jar}"


@contextmanager
def java(path: str, program: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run one of the programs; it ends when its input is closed."""
    command = [shutil.which("java") or "java", *FLAGS, "-cp", path, program, *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603  (our own command)
    try:
        yield process
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
