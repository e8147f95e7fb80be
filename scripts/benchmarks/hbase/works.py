"""The works of the benchmark, for our server and the raw scanner, and the ways of which the raw scanner uses the fastest."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.flight as fl
from measure import quartiles, rounds, timed
from processes import Served

from hbase.filling import FILLING, TABLE
from hbase.jvm import MIB, RawScanner, Scanned, Way

__all__ = ["MANY", "OBJECT", "RawSide", "Request", "Work", "check", "fastest", "works"]

ADDED_GOAL, BULK_GOAL = 3.0, 1.3
FEW = ("i:jd", "i:fid", "i:magpsf")
OBJECTS = 100
END = "schema"  # later rows describe the table
CALIBRATION_REST = 4  # one of this many rounds is a warm-up

Request = tuple[str, ...]  # object IDs; none of them: the whole table
T = TypeVar("T")
OBJECT = (*(Way(bytes=size * MIB, asynchronous=other) for size in (1, 2, 4) for other in (False, True)), Way(named=True))
FEW_COLUMNS = (Way(named=True), Way(named=True, asynchronous=True), Way())
MANY = (
    *(Way(bytes=size * MIB) for size in (1, 2, 4)),
    *(Way(by="region", parts=parts, bytes=size * MIB) for parts in (1, 2) for size in (1, 2)),
    Way(asynchronous=True),
    Way(by="region", bytes=MIB, asynchronous=True),
)
WHOLE = (Way(), Way(bytes=MIB), Way(cache=False), Way(asynchronous=True))


@dataclass(frozen=True, slots=True)
class Work:
    """One work.

    Parameters
    ----------
    name
        A short description.
    columns
        The requested columns; None for all.
    draw
        Draws a request.
    ways
        The ways of the raw scanner.
    end
        Consumes the answer; returns its number of rows.
    share
        The number of rounds, relative to the shortest work.
    warm
        The number of uncounted warm-up rounds, relative to the counted ones.
    most_added, most_ratio
        The goal: ms more than the raw scanner, or times as long.
    against_public
        Whether the goal is a fraction of the time that the public services' method adds.
    """

    name: str
    columns: tuple[str, ...] | None
    draw: Callable[[np.random.Generator], Request]
    ways: Sequence[Way]
    end: Callable[[fl.FlightStreamReader], object]
    share: float = 1.0
    warm: float = 0.5
    most_added: float | None = None
    most_ratio: float | None = None
    against_public: bool = False

    @property
    def has_objects(self) -> bool:
        """Whether it selects objects."""
        return bool(self.draw(np.random.default_rng(0)))

    def ticket(self, request: Request) -> fl.Ticket:
        """Return the ticket of a request."""
        words: dict[str, object] = {"table": "ztf", **({"ids": request} if request else {"all": True})}
        if self.columns:
            words["columns"] = self.columns
        return fl.Ticket(json.dumps(words).encode())

    def ours(self, served: Served, request: Request) -> float:
        """Query our server; return the time in ms."""
        ticket = self.ticket(request)
        return timed(lambda: self.end(served.client.do_get(ticket)))


def fastest(ways: Sequence[Way], requests: Sequence[T], read: Callable[[Way, T], float]) -> Way:
    """Return the way with the lowest lower quartile, since other load only adds time."""
    times = rounds(requests, [partial(read, way) for way in ways], warm=len(requests) // CALIBRATION_REST)
    return ways[int(np.argmin([quartiles(side)[0] for side in times]))]


@dataclass(frozen=True, slots=True)
class RawSide:
    """The raw scanner, with all columns of the table and the start keys of its regions."""

    scanner: RawScanner
    columns: Sequence[str]
    regions: Sequence[str]

    def read(self, work: Work, way: Way, request: Request) -> Scanned:
        """Run a work."""
        return self.scanner.scan(TABLE, self.ranges(request), work.columns or self.columns, way)

    def ranges(self, request: Request) -> list[tuple[str, str]]:
        """Return the ranges of keys of a request; those of the regions for the whole table."""
        if not request:
            return list(zip(self.regions, [*self.regions[1:], END], strict=True))
        return [(f"{name}_", f"{name}`") for name in request]

    def fastest(self, work: Work, requests: Sequence[Request]) -> Way:
        """Try the ways of a work on some requests; see `fastest`."""
        return fastest(work.ways, requests, lambda way, request: self.read(work, way, request).ms)


def works() -> list[Work]:
    """Return all works; the one that may evict others from server caches comes last."""

    def one(random: np.random.Generator) -> Request:
        return tuple(FILLING.some(random, len(FILLING.years))[:1])

    def long(_: np.random.Generator) -> Request:
        return (FILLING.long_object,)

    def many(random: np.random.Generator) -> Request:
        return tuple(FILLING.some(random, OBJECTS))

    return [
        Work("one object", None, one, OBJECT, _arrow, warm=5, most_added=ADDED_GOAL),
        Work("one object", FEW, one, FEW_COLUMNS, _arrow, warm=2),
        Work("one object, into pandas", None, long, OBJECT, _pandas, 0.15, 1, against_public=True),
        Work(f"{OBJECTS} objects, into pandas", None, many, MANY, _pandas, 0.15, 1, most_ratio=BULK_GOAL),
        Work("the whole table, batches", None, lambda _: (), WHOLE, _batches, 0.025, 0.2),
    ]


def check(work: Work, raw: RawSide, served: Served, request: Request) -> int:
    """Check that both sides read the same cells; return the number of rows."""
    rows = cells = 0
    for chunk in served.client.do_get(work.ticket(request)):
        rows += len(chunk.data)
        cells += sum(len(column) - column.null_count for column in chunk.data.columns)
    found = raw.read(work, Way(named=True), request)
    if (rows, cells) != (found.rows, found.cells) or not rows:
        ours, theirs = f"{rows} rows with {cells} cells", f"{found.rows} with {found.cells}"
        raise click.ClickException(f"{work.name}: our answer has {ours}, that of the raw scanner {theirs}")
    return rows


def _arrow(reader: fl.FlightStreamReader) -> pa.Table:
    return reader.read_all()


def _pandas(reader: fl.FlightStreamReader) -> pd.DataFrame:
    frame: pd.DataFrame = reader.read_all().to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _batches(reader: fl.FlightStreamReader) -> int:
    return sum(len(chunk.data) for chunk in reader)
