"""The queries of `scripts/bench queries`: cones, points and classes as tickets, and their objects."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import click
import numpy as np
import pyarrow as pa
import pyarrow.flight as fl
from measure import Line, line, rounds, timed
from processes import Served

__all__ = ["RADII", "Place", "Places", "against_points", "check", "cone", "read"]

FEW = ("i:jd", "i:fid", "i:magpsf")
RADII = {"5 arcsec": 5.0, "1 arcmin": 60.0, "1 degree": 3600.0}
CONE_GOAL, FIRST_GOAL = 5.0, 50.0
NEWEST = 100
WARM = 20
Columns = Sequence[str] | None  # None for all
Side = Callable[[Served, Columns, "Place"], float]  # returns the ms


@dataclass(frozen=True, slots=True)
class Place:
    """An object, its position in degrees, and a class of many alerts."""

    name: str
    ra: float
    dec: float
    kind: str


class Places:
    """The rows of ztf.pixel128 of a server, from which positions are drawn."""

    def __init__(self, served: Served) -> None:
        columns = ["i:objectId", "i:ra", "i:dec", "d:classification"]
        self.rows = served.ask(_ticket(table="ztf.pixel128", all=True, columns=columns))
        self._kinds = [
            kind for kind, count in Counter(self.rows["d:classification"].to_pylist()).items() if kind and count >= NEWEST
        ]
        self._random = np.random.default_rng(7)

    def draw(self, count: int) -> list[Place]:
        """Draw objects, and a class for each."""
        drawn = self.rows.take(pa.array(self._random.integers(0, len(self.rows), count))).to_pylist()
        kinds = self._random.integers(0, len(self._kinds), count).tolist()
        return [
            Place(row["i:objectId"], row["i:ra"], row["i:dec"], self._kinds[kind]) for row, kind in zip(drawn, kinds, strict=True)
        ]


def cone(place: Place, radius: float, columns: Columns = None, table: str = "ztf") -> bytes:
    """Return the ticket of a cone around a position, radius in arcsec."""
    return _ticket(table=table, cone={"ra": place.ra, "dec": place.dec, "radius": radius}, columns=columns)


def newest(place: Place, columns: Columns = None) -> bytes:
    """Return the ticket of the newest alerts of a class."""
    return _ticket(table="ztf.class", columns=columns, limit=NEWEST, **{"class": place.kind})


def _ticket(*, columns: Columns = None, **fields: object) -> bytes:
    given = fields | ({} if columns is None else {"columns": list(columns)})
    return json.dumps(given, separators=(",", ":")).encode()


def read(served: Served, ticket: bytes) -> float:
    """Read a whole answer; return the ms."""
    return timed(lambda: served.ask(ticket))


def first_batch(served: Served, ticket: bytes) -> float:
    """Return the ms until the first rows of an answer; the others are read afterwards."""
    begun = time.perf_counter_ns()
    reader = served.client.do_get(fl.Ticket(ticket))
    while not len(reader.read_chunk().data):
        pass
    ms = (time.perf_counter_ns() - begun) / 1e6
    for _ in reader:
        pass
    return ms


def check(served: Served, places: Sequence[Place]) -> None:
    """Check that the answers match the queries."""
    for place in places:
        for radius in RADII.values():
            if place.name not in served.ask(cone(place, radius, ["i:objectId"]))["i:objectId"].to_pylist():
                raise click.ClickException(f"{place.name} is not within {radius} arcsec of itself")
        found = served.ask(newest(place, ["i:jd", "d:classification"]))
        times = found["i:jd"].to_pylist()
        if set(found["d:classification"].to_pylist()) != {place.kind} or len(found) != NEWEST or times != sorted(times)[::-1]:
            raise click.ClickException(f"{NEWEST} newest alerts of {place.kind} are something else")


def against_points(served: Served, places: Places, store: str, repeat: int, *, judged: bool) -> Iterator[Line]:
    """Measure cones and classes against the lookup of one object with the same columns; goals where `judged`."""
    first = RADII["1 degree"]
    asked: list[tuple[str, Side, float | None]] = [
        (f"cone of {name}", partial(_cone, radius), CONE_GOAL if name == "5 arcsec" else None) for name, radius in RADII.items()
    ]
    asked.append(("cone of 1 degree, first batch", partial(_first_of_cone, first), FIRST_GOAL))
    asked.append((f"newest {NEWEST} of a class", _newest, None))
    for columns in (None, FEW):
        for name, side, goal in asked:
            title = f"{store}: {name}, {'all' if columns is None else len(columns)} columns"
            sides = [partial(side, served, columns), partial(_point, served, columns)]
            times = rounds(places.draw(repeat), sides, warm=min(WARM, repeat))
            click.echo(f"  {title}", err=True)
            yield line(title, "one object by its name", (times[0], times[1]), goal if judged else None)


def _cone(radius: float, served: Served, columns: Columns, place: Place) -> float:
    return read(served, cone(place, radius, columns))


def _first_of_cone(radius: float, served: Served, columns: Columns, place: Place) -> float:
    return first_batch(served, cone(place, radius, columns))


def _newest(served: Served, columns: Columns, place: Place) -> float:
    return read(served, newest(place, columns))


def _point(served: Served, columns: Columns, place: Place) -> float:
    return read(served, _ticket(table="ztf", ids=[place.name], columns=columns))
