"""Servers in separate processes, each ended by its process ID."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.flight as fl
from store import COMMAND

__all__ = ["Served", "bare_server", "configured_server", "real_server"]

STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Served:
    """A server that is ready: its address, process, the seconds until its ready line, and a client of it."""

    url: str
    pid: int
    seconds: float
    client: fl.FlightClient

    def ask(self, ticket: bytes) -> pa.Table:
        """Read one whole answer."""
        return self.client.do_get(fl.Ticket(ticket)).read_all()


@contextmanager
def real_server(data: Path) -> Iterator[Served]:
    """Serve a store as `alertflight serve` does."""
    with _started([COMMAND, "serve", "--port", "0", "--data", data], data.with_name("server.log")) as served:
        yield served


@contextmanager
def configured_server(settings: Path) -> Iterator[Served]:
    """Serve with a settings file."""
    with _started([COMMAND, "serve", "--config", settings], settings.with_suffix(".log")) as served:
        yield served


@contextmanager
def bare_server(upstream: Served, work: Path) -> Iterator[Served]:
    """Serve recorded answers of another server; see bare.py."""
    program = Path(__file__).with_name("bare.py")
    with _started([sys.executable, program, upstream.url], work / "bare.log") as served:
        yield served


def _answering(pid: int) -> int:
    """Return the process that answers: that of `alertflight serve` supervises it."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(below[0]) if below else pid


@contextmanager
def _started(command: Sequence[str | Path], log: Path) -> Iterator[Served]:
    begun = time.perf_counter()
    with log.open("w") as sink:
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=sink, text=True)  # noqa: S603  (our own command)
    try:
        for line in process.stdout or ():
            found = re.match(r"ready (grpc://\S+)", line)
            if found:
                seconds = time.perf_counter() - begun
                break
        else:
            raise click.ClickException(f"{command[0]} ended without being ready: {log.read_text()[-500:]}")
        with fl.connect(found.group(1)) as client:
            client.wait_for_available()
            yield Served(found.group(1), _answering(process.pid), seconds, client)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
