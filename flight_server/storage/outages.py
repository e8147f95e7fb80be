"""Outages of services behind a store: while one lasts, what needs the service fails at once, and a probe waits for its end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from flight_server.protocol.deadlines import Deadline
from flight_server.protocol.errors import AlertflightError, BackendLost, DeadlinePassed

__all__ = ["NO_WAIT", "Outage", "Outages", "Waiting"]

log = logging.getLogger(__name__)
PROBE_SECONDS = 1.0  # the pause between probes
WAIT_SECONDS = 0.25  # between checks of a deadline

Concerns = Callable[["Outage"], bool]


@dataclass(frozen=True, slots=True)
class Outage:
    """A service that does not answer.

    Parameters
    ----------
    service, address
        What it is, such as `RegionServer`, and where: host and port.
    message
        The error for whoever needs it.
    table, start, stop
        The table and the keys [start, stop) of the region that is lost with it; no table if all are. An empty `stop` is the
        end of the table.
    file, first, last
        The file that cannot be read without it, if others can, and bytes of its part that is lost.
    rows
        Whether rows need the service; without one of HDFS, cutouts are lost alone.
    """

    service: str
    address: str
    message: str
    table: str = ""
    start: bytes = b""
    stop: bytes = b""
    file: str = ""
    first: int = 0
    last: int = 0
    rows: bool = True

    def error(self) -> BackendLost:
        """Return the error of whoever needs the service."""
        return BackendLost(f"{self.message}: try again later", field="table" if self.table else None, value=self.table or None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long to wait at the start for services that do not answer, seconds, and whether to give up before."""

    seconds: float = 0.0
    is_over: Callable[[], bool] = lambda: False


NO_WAIT = Waiting()


class Outages:
    """The present outages, and the probe that finds their ends. Threads may share it.

    Parameters
    ----------
    probe
        Return the outage that there is now where this one was, or None if there is none; within some seconds.
    """

    def __init__(self, probe: Callable[[Outage], Outage | None]) -> None:
        self._probe = probe
        self._changed = threading.Condition()
        self._present: dict[Outage, float] = {}  # with the time since when
        self._is_closed = False
        self._is_probing = False

    def present(self) -> tuple[Outage, ...]:
        """Return the outages that are known now."""
        return tuple(self._present)

    def report(self, outage: Outage) -> None:
        """Note an outage, until the probe finds its end."""
        with self._changed:
            if outage in self._present or self._is_closed:
                return
            self._present[outage] = time.monotonic()
            log.error("%s; tickets that need it are refused until it does", outage.message)
            if not self._is_probing:
                self._is_probing = True
                threading.Thread(target=self._run, name="probe", daemon=True).start()

    def check(self, concerns: Concerns = lambda _: True) -> None:
        """Raise the error of an outage that concerns the caller."""
        for outage in self.present():
            if concerns(outage):
                raise outage.error()

    def wait(self, concerns: Concerns, deadline: Deadline) -> None:
        """Wait until no outage concerns the caller, or raise at the deadline."""
        while any(concerns(outage) for outage in self.present()):
            try:
                deadline.check()
            except DeadlinePassed as late:
                raise next(outage for outage in self.present() if concerns(outage)).error() from late
            with self._changed:
                if self._is_closed:
                    raise BackendLost("the server is shutting down")
                self._changed.wait(WAIT_SECONDS)

    def close(self) -> None:
        """Stop the probe."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._present or self._is_closed:
                    self._is_probing = False
                    return
                self._changed.wait_for(lambda: self._is_closed, PROBE_SECONDS)
                outages = list(self._present)
            for outage in outages:
                self._look(outage)

    def _look(self, outage: Outage) -> None:
        """Probe once, and forget the outage if it has ended or become another one."""
        try:
            found = self._probe(outage)
        except AlertflightError as error:  # the probe itself cannot be made now
            log.debug("a probe failed: %s", error.message)
            return
        if found == outage:
            return
        if found is not None:
            self.report(found)
        with self._changed:
            since = self._present.pop(outage, time.monotonic())
            if found is None:
                seconds = time.monotonic() - since
                log.warning("the %s at %s answers again after %.0f s", outage.service, outage.address or "its place", seconds)
            self._changed.notify_all()
