"""What is read, by us and by the raw scanner, and the ways from which the raw scanner takes its fastest."""

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
END = "schema"  # the rows behind it describe the table
CALIBRATION_REST = 4  # one of so many rounds warms up

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
        In words.
    columns
        Those asked for; None for all.
    draw
        Gives a request.
    ways
        What the raw scanner may choose from.
    end
        What the client does with the answer; gives its rows.
    share
        Rounds, as a part of those of the shortest work.
    warm
        Rounds that come first and are not counted, as a part of those that are.
    most_added, most_ratio
        The goal: ms more than the raw scanner, or times as long.
    against_public
        Whether the goal is a part of what the public services' way adds.
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
        """Whether it names objects."""
        return bool(self.draw(np.random.default_rng(0)))

    def ticket(self, request: Request) -> fl.Ticket:
        """Give the ticket of a request."""
        words: dict[str, object] = {"table": "ztf", **({"ids": request} if request else {"all": True})}
        if self.columns:
            words["columns"] = self.columns
        return fl.Ticket(json.dumps(words).encode())

    def ours(self, served: Served, request: Request) -> float:
        """Ask our server; gives the ms."""
        ticket = self.ticket(request)
        return timed(lambda: self.end(served.client.do_get(ticket)))


def fastest(ways: Sequence[Way], requests: Sequence[T], read: Callable[[Way, T], float]) -> Way:
    """Try ways on some requests, and give the one with the lowest lower quartile: what others do only adds."""
    times = rounds(requests, [partial(read, way) for way in ways], warm=len(requests) // CALIBRATION_REST)
    return ways[int(np.argmin([quartiles(side)[0] for side in times]))]


@dataclass(frozen=True, slots=True)
class RawSide:
    """The raw scanner, and what it must know of the table: all columns, and where regions start."""

    scanner: RawScanner
    columns: Sequence[str]
    regions: Sequence[str]

    def read(self, work: Work, way: Way, request: Request) -> Scanned:
        """Do a work."""
        return self.scanner.scan(TABLE, self.ranges(request), work.columns or self.columns, way)

    def ranges(self, request: Request) -> list[tuple[str, str]]:
        """Give the ranges of keys of a request; those of the regions for the whole table."""
        if not request:
            return list(zip(self.regions, [*self.regions[1:], END], strict=True))
        return [(f"{name}_", f"{name}`") for name in request]

    def fastest(self, work: Work, requests: Sequence[Request]) -> Way:
        """Try the ways of a work on some requests; see `fastest`."""
        return fastest(work.ways, requests, lambda way, request: self.read(work, way, request).ms)


def works() -> list[Work]:
    """Give all works; that which may push others out of the servers' caches last."""

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
    """Make sure that both sides read the same cells; gives the number of rows."""
    rows = cells = 0
    for chunk in served.client.do_get(work.ticket(request)):
        rows += len(chunk.data)
        cells += sum(len(column) - column.null_count for column in chunk.data.columns)
    found = raw.read(work, Way(named=True), request)
    if (rows, cells) != (found.rows, found.cells) or not rows:
        ours, theirs = f"{rows} rows with {cells} cells", f"{found.rows} with {found.cells}"
        raise click.ClickException(f"{work.name}: {ours} came from us, {theirs} from the raw scanner")
    return rows


def _arrow(reader: fl.FlightStreamReader) -> pa.Table:
    return reader.read_all()


def _pandas(reader: fl.FlightStreamReader) -> pd.DataFrame:
    frame: pd.DataFrame = reader.read_all().to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _batches(reader: fl.FlightStreamReader) -> int:
    return sum(len(chunk.data) for chunk in reader)
