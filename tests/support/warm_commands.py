"""Commands in processes that start at once: forked from one process with all imports done.

Most of what a short command costs is the import. The warm process imports, and then does nothing but fork: it runs no
thread, passes no injection point and opens no store, so that each child begins as a fresh process does. A child has pipes,
environment, limits and exit code of its own, and is really killed where a test asks for it. It leaves out only the taking
apart of the interpreter at its end, which takes longer than a short command; tests with fresh processes show that end.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

# what commands import when they are called, and what pyarrow imports when it is first given an array
IMPORTED = ("flight_server.cli.app", "flight_server.ingest", "flight_server.service.process", "flight_server.settings")
IMPORTED += ("flight_server.derive.classification", "astropy_healpix.healpy", "pandas")
# these libraries begin threads when they are loaded, unless they are told not to
WITHOUT_THREADS = {"JE_ARROW_MALLOC_CONF": "background_thread:false", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Ended:
    """The result of a command: return code (-9 after SIGKILL), output, and seconds that it ran."""

    returncode: int
    stdout: str
    stderr: str
    lasted: float


class WarmCommands:
    """The warm process; runs one command at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | WITHOUT_THREADS,
        )

    @property
    def pid(self) -> int:
        """The process ID of the warm process."""
        return self._process.pid

    def run(
        self,
        command: Sequence[str | Path],
        *,
        inject: str = "",
        changes: Mapping[str, int] | None = None,
        kill_after: float | None = None,
    ) -> Ended:
        """Run a command of the project until it ends.

        Parameters
        ----------
        command
            The words after `alertflight`.
        inject
            The injection point to arm.
        changes
            Constants of modules by their full names; `file_bytes` limits the size of files that may be written.
        kill_after
            Seconds after which it is killed, if it still runs.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "words": [str(word) for word in command],
            "environment": dict(os.environ) | ({"ALERTFLIGHT_INJECT": inject} if inject else {}),
            "changes": dict(changes or {}),
            "kill_after": kill_after,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the warm process has ended with {self._process.wait()}"
        return Ended(**json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process; it also ends when its input is closed."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(60)
            finally:
                self._process.kill()


def command(changes: dict[str, int], words: Sequence[str]) -> NoReturn:
    """Run the command in the forked process, with changed module constants or limit on file size."""
    if "file_bytes" in changes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (changes.pop("file_bytes"), resource.RLIM_INFINITY))
    for name, value in changes.items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)
    from flight_server.cli.app import main

    main(args=words, prog_name="alertflight")
    raise AssertionError("a command exits")


def _be_child(request: dict[str, Any], out: int, err: int) -> NoReturn:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    code = 1
    try:
        command(request["changes"], request["words"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(request: dict[str, Any]) -> dict[str, Any]:
    threads = list(Path("/proc/self/task").iterdir())
    assert len(threads) == 1, f"{len(threads)} threads: a fork would lose all but one of them"
    with ExitStack() as opened:
        ends = [os.pipe(), os.pipe()]
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            for reading, _ in ends:
                os.close(reading)
            _be_child(request, ends[0][1], ends[1][1])
        for reading, writing in ends:
            os.close(writing)
            opened.callback(os.close, reading)
        printed: dict[int, bytes] = {reading: b"" for reading, _ in ends}
        kill_at = None if request["kill_after"] is None else began + request["kill_after"]
        selector = opened.enter_context(selectors.DefaultSelector())
        for reading in printed:
            selector.register(reading, selectors.EVENT_READ)
        while selector.get_map():  # both are at their ends once the child has ended
            for key, _ in selector.select(None if kill_at is None else max(0.0, kill_at - time.monotonic())):
                content = os.read(key.fd, 1 << 16)
                printed[key.fd] += content
                if not content:
                    selector.unregister(key.fd)
            if kill_at is not None and time.monotonic() >= kill_at:
                os.kill(pid, signal.SIGKILL)  # it is not waited for yet, so the number is still its own
                kill_at = None
        _, status = os.waitpid(pid, 0)
        stdout, stderr = (content.decode(errors="backslashreplace") for content in printed.values())
        return {
            "returncode": os.waitstatus_to_exitcode(status),
            "stdout": stdout,
            "stderr": stderr,
            "lasted": time.monotonic() - began,
        }


def _serve() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    from flight_server.catalog.catalog import load_catalog

    load_catalog()
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)


if __name__ == "__main__":
    _serve()
