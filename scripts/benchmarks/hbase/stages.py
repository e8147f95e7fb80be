"""Profile of a request to the HBase store, by stages that can be called alone, in this process and over the wire."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measure import aligned, rounds, timed
from processes import Served

from flight_server.execution.archive import Archive
from flight_server.protocol.callers import Caller
from flight_server.protocol.ticket_json import parse_ticket
from flight_server.service.process import open_archive
from flight_server.settings import load_settings
from flight_server.storage.hbase import HBaseStore
from flight_server.storage.scans import Scan
from hbase.jvm import Way
from hbase.works import RawSide, Request, Work

__all__ = ["Staged", "staged"]


@dataclass(slots=True)
class Staged:
    """The archive in this process, with its own gateway.

    Parameters
    ----------
    archive, store
        The archive and its store.
    """

    archive: Archive
    store: HBaseStore
    _noted: dict[str, list[float]] = field(default_factory=dict)

    def table(self, work: Work, raw: RawSide, way: Way, served: Served, requests: Sequence[Request]) -> str:
        """Time the stages of some requests, in turn; differences of medians may be below 0 where stages overlap."""
        self._noted.clear()
        count = len(requests)
        sides = [
            lambda request: raw.read(work, way, request).ms,
            lambda request: timed(lambda: self._scan(work, request)),
            lambda request: timed(lambda: self._answer(work, request)),
            lambda request: timed(lambda: served.ask(work.ticket(request).ticket)),
            lambda request: _into_pandas(served, work.ticket(request).ticket),
        ]
        times = [float(np.median(side)) for side in rounds(requests, sides, warm=count)]
        raw_ms, scan, answer, wire, pandas = times
        noted = {name: float(np.median(side[-count:])) for name, side in self._noted.items()}
        lines = {
            "raw scan": raw_ms,
            "bridge: rows as batches in Python, less the raw scan": scan - raw_ms,
            **{f"    of these {name}": value for name, value in noted.items()},
            "archive: ticket, plan, cutting, counting": answer - scan,
            "= answer in process": answer,
            "Flight: handler, transport, client": wire - answer,
            "= answer over the wire": wire,
            "into pandas": pandas,
        }
        return aligned([(f"{work.name}, {len(work.columns or raw.columns)} columns", "ms"), *_texts(lines)])

    def _scan(self, work: Work, request: Request) -> None:
        plan = self.archive.plan(parse_ticket(work.ticket(request).ticket), Caller())
        view = self.store.view()
        begun = time.perf_counter()
        rows = view.scan(Scan(table=plan.table, columns=plan.shape.columns, ids=plan.ids))
        next(rows)
        self._note("until the first rows are here", begun)
        for _ in rows:
            pass

    def _answer(self, work: Work, request: Request) -> None:
        for _ in self.archive.answer(parse_ticket(work.ticket(request).ticket), Caller()).messages:
            pass

    def watch_calls(self) -> None:
        """Note the time of calls of the gateway from now on."""
        gateway: Any = self.store.gateway
        call = gateway.call

        def noting(*words: Any, **more: Any) -> Any:
            begun = time.perf_counter()
            answer = call(*words, **more)
            self._note("calls over py4j", begun)
            return answer

        gateway.call = noting

    def _note(self, name: str, begun: float) -> None:
        self._noted.setdefault(name, []).append((time.perf_counter() - begun) * 1000)


@contextmanager
def staged(settings: Path) -> Iterator[Staged]:
    """Open the archive in this process."""
    archive, store = open_archive(load_settings(settings, environment={}))
    assert isinstance(store, HBaseStore)
    try:
        made = Staged(archive, store)
        made.watch_calls()
        yield made
    finally:
        store.close()


def _into_pandas(served: Served, ticket: bytes) -> float:
    table = served.ask(ticket)
    return timed(lambda: table.to_pandas(types_mapper=pd.ArrowDtype))


def _texts(lines: dict[str, float]) -> list[tuple[str, str]]:
    return [(name, f"{value:.2f}") for name, value in lines.items()]
