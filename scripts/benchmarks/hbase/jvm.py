"""The Java side of the references: compiled once a run, kept running, asked line by line."""

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
        Whether columns are named; else families are read whole.
    by
        `range`: a scan each; `region`: a scan for the ranges of each region, with a filter.
    parts
        The scans of a region.
    bytes
        The most that an answer of a server may have.
    prefetch
        Whether the client asks for the next answer ahead.
    cache
        Whether the servers keep the blocks.
    asynchronous
        Whether the scanner is that of the asynchronous client.
    """

    named: bool = False
    by: str = "range"
    parts: int = 1
    bytes: int = 2 * MIB
    prefetch: bool = False
    cache: bool = True
    asynchronous: bool = False

    def __str__(self) -> str:
        """Give it in a few words."""
        scans = "a scan a range" if self.by == "range" else f"{self.parts} filtered scan(s) a region"
        words = ["columns by name" if self.named else "whole families", scans, f"{self.bytes >> 10} KiB an answer"]
        further = {"prefetch": self.prefetch, "blocks not cached": not self.cache, "asynchronous client": self.asynchronous}
        return ", ".join([*words, *(name for name, is_so in further.items() if is_so)])


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan took, and what came."""

    ms: float
    rows: int
    cells: int


class RawScanner:
    """The HBase client's own scanner in a process of its own, timed inside of it.

    Parameters
    ----------
    process
        Runs Reference.java.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def ask(self, operation: str, **words: Any) -> Any:
        """Have something done; gives the answer."""
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
        """Read some columns of ranges of rows."""
        names = {"columns": columns} if way.named else {"families": sorted({name.partition(":")[0] for name in columns})}
        words = {name: value for name, value in asdict(way).items() if name != "named"}
        found = self.ask("scan", table=table, ranges=ranges, **names, **words)
        return Scanned(found["ns"] / 1e6, found["rows"], found["cells"])


@contextmanager
def compiled() -> Iterator[str]:
    """Compile the programs; gives their class path."""
    click.echo("compiling the references (and the gateway, if it is new) ...", err=True)
    try:
        jar = find_jar()
    except BridgeFault as fault:
        raise click.ClickException(fault.message) from fault
    compiler = shutil.which("javac")
    if compiler is None:
        raise click.ClickException("there is no javac: install a JDK (Debian: apt install openjdk-17-jdk-headless)")
    with tempfile.TemporaryDirectory(prefix="alertflight-bench-") as folder:
        jar = Path(shutil.copy(jar, folder))  # Java opens it again and again, and a build may take the old one away
        words = [compiler, "-cp", str(jar), "-d", folder, *(str(file) for file in sorted(SOURCES.glob("*.java")))]
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
        if done.returncode:
            raise click.ClickException(f"javac says:\n{done.stderr}")
        yield f"{folder}:{jar}"


@contextmanager
def java(path: str, program: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run one of the programs; it ends with its input."""
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
