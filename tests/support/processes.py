"""Server processes for tests: wait for the ready line, stop by process ID."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

COMMAND = Path(sys.executable).with_name("alertflight")


@dataclass
class Serving:
    """A command that serves: its address, and its output until it was ready."""

    process: subprocess.Popen[str]
    url: str
    printed: str

    @property
    def server(self) -> int:
        """The ID of the process that answers, below the one that supervises it."""
        (server,) = children(self.process.pid)
        return server


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that have not ended."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


@contextmanager
def serving(
    command: Sequence[str | Path],
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    heard: Callable[[str], None] = lambda _: None,
) -> Iterator[Serving]:
    """Start a server and wait for its ready line and the example below it; `heard` is called with each line until then."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=os.environ | (environment or {}),
    )
    try:
        printed = ""
        url = None
        assert process.stdout is not None
        for line in process.stdout:
            printed += line
            heard(line)
            found = re.match(r"ready (grpc://\S+)", line)
            url = found.group(1) if found else url
            if url and ("print(" in line or "no table is served" in line):
                break
        assert url, f"the server ended without being ready:\n{printed}"
        yield Serving(process, url, printed)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.stdout.close()  # type: ignore[union-attr]
            process.wait()


def run_example(printed: str, python: str | Path = sys.executable) -> str:
    """Run the Python code that a server printed for pasting, and return what it prints."""
    code = "\n".join(printed[printed.index("import json") :].splitlines()) + "\n"
    done = subprocess.run([python, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
