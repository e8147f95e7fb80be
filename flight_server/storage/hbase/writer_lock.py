"""The right to write into the tables of HBase, which one ingest has at a time.

HBase has no transaction over rows: two ingests of the same alerts would each miss what the other one writes. So a cell names
the ingest that writes. That ingest renews the cell; one that does not any more has lost its right after a while, by the clock
of whoever waits for it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any, Self

from flight_server.protocol.errors import BackendLost, CorruptData
from flight_server.storage.hbase.schema_rows import WRITER
from hbase_bridge import BridgeFault, Gateway

__all__ = ["WriterLock"]

log = logging.getLogger(__name__)
LEASE_SECONDS = 60.0
RENEWALS = 6  # in the time of a lease
POLL_SECONDS = 0.5
QUALIFIER = "writer"
FREE = "{}"  # a cell that is deleted would hide one that is put in the same millisecond


class WriterLock:
    """The lock of one ingest; use as a context manager, which waits until no other ingest has it.

    Parameters
    ----------
    gateway
        The bridge.
    table, family
        The table in HBase that has the cell, and its column family.
    """

    def __init__(self, gateway: Gateway, table: str, family: str) -> None:
        self._gateway = gateway
        self._cell = {"table": table, "row": WRITER, "family": family, "qualifier": QUALIFIER}
        self._who = {
            "owner": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "began": _began(os.getpid()),
        }
        self._beat = 0
        self._held = ""
        self._renewed = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="writer-lock", daemon=True)

    def __enter__(self) -> Self:
        seen, since, told = None, time.monotonic(), False
        while not self._takes(seen if seen is not None and self._is_over(seen, since) else None):
            held = self._value
            if held != seen:
                seen, since = held, time.monotonic()
                if held in {None, FREE}:
                    continue
            if not told and held is not None:
                told = True
                who = self._holder(held)
                log.warning("another ingest is writing (%s, process %s); this one waits", who["host"], who["process"])
            time.sleep(POLL_SECONDS)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        if self._held:
            with contextlib.suppress(BridgeFault):  # then it is over with the lease
                self._swap(self._held, FREE)

    def check(self) -> None:
        """Raise if the right is lost, so that nothing more may be written."""
        if self._held == "" or time.monotonic() - self._renewed > LEASE_SECONDS:
            message = "this ingest has lost its right to write, since it could not renew it in HBase: run it again"
            raise BackendLost(message, field="hbase.zookeeper")

    def _takes(self, over: str | None) -> bool:
        """Try to take the lock, from nobody or from an ingest whose right is over; return whether this one has it."""
        mine = self._text()
        self._value: str | None = None
        for expected in (None, FREE, over):
            if expected is None and over is not None:
                continue
            reply = self._swap(expected, mine)
            self._value = reply["value"]
            if self._value == mine:
                self._held, self._renewed = mine, time.monotonic()
                return True
        return False

    def _is_over(self, held: str, since: float) -> bool:
        who = self._holder(held)
        if who["host"] == self._who["host"] and _began(who["process"]) != who["began"]:
            return True  # it was killed on this machine
        return time.monotonic() - since > LEASE_SECONDS

    def _holder(self, held: str) -> dict[str, Any]:
        """Return who has the lock, as its cell says."""
        with contextlib.suppress(ValueError):
            who = json.loads(held)
            if isinstance(who, dict) and self._who.keys() <= who.keys() and isinstance(who["process"], int):
                return who
        place = f"the cell {self._cell['family']}:{QUALIFIER} of the row {WRITER} of the table {self._cell['table']}"
        raise CorruptData(f"{place} in HBase names no ingest: delete it if none is writing", field="hbase", value=held[:80])

    def _renew(self) -> None:
        while not self._ended.wait(LEASE_SECONDS / RENEWALS):
            asked = time.monotonic()
            self._beat += 1
            new = self._text()
            try:
                value = self._swap(self._held, new)["value"]
            except BridgeFault as fault:
                log.warning("the right to write could not be renewed: %s", fault.message)
                continue
            if value != new:
                self._held = ""
                return
            self._held, self._renewed = new, asked

    def _text(self) -> str:
        return json.dumps({**self._who, "beat": self._beat})

    def _swap(self, expected: str | None, value: str) -> dict[str, Any]:
        found: dict[str, Any] = self._gateway.call("swap-cell", **self._cell, expected=expected, value=value)
        return found


def _began(process: int) -> str | None:
    """Return the time at which a process of this machine began, in ticks since the machine did; None if it does not run."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123  (a file of the kernel)
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return None
