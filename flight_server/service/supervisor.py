"""The process above a server: it starts the server again when that is ended by SIGBUS, and passes on everything else.

A server touches pages of mapped files. If a file is cut short between the look at its size and the touch, or the disk cannot
deliver a page, the kernel ends the process with SIGBUS, which Python cannot handle. This module imports little, so that the
process above has no threads and few megabytes.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

__all__ = ["Start", "supervise"]

log = logging.getLogger(__name__)
STOP = {signal.SIGINT, signal.SIGTERM}
AWAITED = STOP | {signal.SIGCHLD}
PR_SET_PDEATHSIG = 1  # of prctl(2)


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a server.

    Parameters
    ----------
    port
        The port of the server that was ended, which this one has to take; None for the first one.
    report
        To be called with the port once the server is ready.
    """

    port: int | None
    report: Callable[[int], None]


def supervise(serve: Callable[[Start], None]) -> None:
    """Run a server in a process of its own, and again whenever SIGBUS ends it; return or exit as the last one did.

    A server that is ended so before it is ready is not started again. SIGINT and SIGTERM are passed on as SIGTERM, each once.
    If this process is killed, so is the server.

    Parameters
    ----------
    serve
        Serves until SIGTERM. It runs in the new process.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored by who started this, children would leave no status
    before = signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    above = os.getpid()
    port: int | None = None
    while True:
        sys.stdout.flush()
        sys.stderr.flush()
        reading, writing = os.pipe()
        server = os.fork()
        if not server:
            os.close(reading)
            _begin(above, before)
            serve(Start(port, partial(_report, writing)))
            return
        os.close(writing)
        status, stopped = _await(server)
        with os.fdopen(reading) as told:
            known = told.read()
        port = int(known) if known else None
        if status != -signal.SIGBUS or stopped or port is None:
            _end(status)
        log.error("SIGBUS ended the server: a file of the store was cut short, or the disk failed; the server is started again")


def _begin(above: int, before: set[int | signal.Signals]) -> None:
    """Prepare the process of the server: it ends with the one above, and hears of Ctrl-C from there only."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != above:  # ended meanwhile
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, before | {signal.SIGINT})


def _report(pipe: int, port: int) -> None:
    os.write(pipe, str(port).encode())
    os.close(pipe)


def _await(server: int) -> tuple[int, bool]:
    """Wait for the end of the server; return its status, negative for a signal, and whether it was told to stop."""
    stopped = False
    while True:
        number = signal.sigwait(AWAITED)
        if number in STOP:
            stopped = True
            os.kill(server, signal.SIGTERM)
            continue
        ended, status = os.waitpid(server, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), stopped


def _end(status: int) -> None:
    """End this process as the server ended."""
    if status >= 0:
        sys.exit(status)
    number = signal.Signals(-status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the server has left one, if it was to
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    sys.exit(128 + number)  # a signal that ends nothing
