"""Profile of one request: by stages that can be called alone, and by function."""

from __future__ import annotations

import cProfile
import gc
import pstats
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from measure import aligned

from flight_server.execution.archive import Archive
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query
from flight_server.protocol.ticket_json import parse_ticket
from flight_server.storage.embedded import EmbeddedStore
from flight_server.storage.scans import Scan

__all__ = ["functions", "stages"]

FUNCTIONS = 24
T = TypeVar("T")


def stages(archive: Archive, store: EmbeddedStore, tickets: Sequence[bytes], ours_ms: float, bare_ms: float) -> str:
    """Time the stages of requests in this process; those over the wire are differences.

    Messages of a long answer are made while earlier ones are sent, so differences may be negative there.

    Parameters
    ----------
    archive, store
        The archive and its store.
    tickets
        One per repetition.
    ours_ms, bare_ms
        Medians of the same requests over the wire, from the real server and from the bare one.
    """
    for ticket in tickets:
        _answer(archive, ticket)
    queries = [parse_ticket(ticket) for ticket in tickets]
    plans = [archive.plan(query, Caller()) for query in queries]
    scans = [Scan(table=plan.table, columns=plan.shape.columns, ids=plan.ids) for plan in plans]
    parse = _median(parse_ticket, tickets)
    plan = _median(lambda query: archive.plan(query, Caller()), queries)
    schema = _median(lambda plan: plan.schema, plans)
    lookup = _median(lambda plan: store.view().count(plan.table, plan.ids), plans)
    scan = _median(lambda scan: _drain(store.view().scan(scan)), scans)
    whole = _median(lambda ticket: _answer(archive, ticket), tickets)
    rows = [
        ("ticket: JSON to Query", parse),
        ("plan: check against the catalog", plan),
        ("schema of the answer", schema),
        ("lookup: IDs to rows", lookup),
        ("slice: rows to batches (scan less lookup)", scan - lookup),
        ("cut, count, cursor, last message (rest of the answer)", whole - parse - plan - schema - scan),
        ("= answer in process", whole),
        ("handler, metadata to JSON, sending it (wire less bare less the above)", (ours_ms - bare_ms) * 1000 - whole),
        ("bare server: the transport", bare_ms * 1000),
        ("= request over the wire", ours_ms * 1000),
    ]
    return aligned([("stage", "us"), *((name, f"{value:.1f}") for name, value in rows)])


def functions(archive: Archive, tickets: Sequence[bytes]) -> str:
    """Profile requests in this process by function: own time, which includes profiler overhead."""
    for ticket in tickets:
        _answer(archive, ticket)
    gc.disable()
    profile = cProfile.Profile()
    profile.enable()
    for ticket in tickets:
        _answer(archive, ticket)
    profile.disable()
    gc.enable()
    rows = [("function", "calls", "own us", "with callees us")]
    found = sorted(pstats.Stats(profile).stats.items(), key=lambda item: -item[1][2])  # type: ignore[attr-defined]
    for (file, number, name), (_, calls, own, cumulative, _) in found[:FUNCTIONS]:
        where = name if file == "~" else f"{Path(file).name}:{number} {name}"
        per = 1e6 / len(tickets)
        rows.append((where[:90], f"{calls / len(tickets):.1f}", f"{own * per:.1f}", f"{cumulative * per:.1f}"))
    return aligned(rows)


def _answer(archive: Archive, ticket: bytes) -> None:
    query: Query = parse_ticket(ticket)
    _drain(archive.answer(query, Caller()).messages)


def _drain(items: Iterator[object]) -> None:
    for _ in items:
        pass


def _median(call: Callable[[T], object], arguments: Sequence[T]) -> float:
    """Return the median time of a call, us."""
    times = np.empty(len(arguments))
    gc.disable()
    for number, argument in enumerate(arguments):
        begun = time.perf_counter_ns()
        call(argument)
        times[number] = time.perf_counter_ns() - begun
    gc.enable()
    return float(np.median(times)) / 1000
