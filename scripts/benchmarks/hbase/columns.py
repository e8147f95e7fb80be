"""The lines of `scripts/bench hbase-columns`: where reading whole families becomes faster than naming columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from measure import aligned, rounds, timed

from flight_server.archive import Archive
from flight_server.callers import Caller
from flight_server.serving import open_archive
from flight_server.settings import load_settings
from flight_server.storage.hbase import requests
from flight_server.storage.protocols import RowView, Scan
from flight_server.stores import Store
from flight_server.tickets import Query
from hbase.clusters import cluster
from hbase.filling import TABLE, fill
from hbase.jvm import RawScanner, Way, compiled, java
from hbase.works import RawSide, Request, Work, works

__all__ = ["Turned", "bench_columns", "columns_table"]

COUNTS = (1, 3, 8, 16, 24, 32, 48, 64, 96, 130)
ALWAYS, NEVER = 1 << 30, 0  # settings of NAMED_MOST
FEWEST = 10


@dataclass(frozen=True, slots=True)
class Turned:
    """One work with some columns: medians in ms, of the raw scanner and of our bridge, by name and of whole families."""

    name: str
    columns: int
    rounds: int
    raw_named: float
    raw_whole: float
    ours_named: float
    ours_whole: float

    def as_json(self) -> dict[str, Any]:
        """Give what `--json` writes."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Bridge:
    """Our bridge in this process, which names at most `most` columns; each has a gateway of its own and remembers that."""

    archive: Archive
    store: Store
    most: int

    def ms(self, columns: Sequence[str], request: Request) -> float:
        """Read once."""
        plan = self.archive.plan(Query(table="ztf", ids=request, columns=tuple(columns)), Caller())
        scan = Scan(table=plan.table, columns=plan.columns, ids=plan.ids)
        held, requests.NAMED_MOST = requests.NAMED_MOST, self.most
        try:
            return timed(lambda: _drain(self.store.view(), scan))
        finally:
            requests.NAMED_MOST = held


def bench_columns(folder: Path | None, most_rounds: int) -> Iterator[Turned]:
    """Measure; gives lines as they are ready."""
    with (
        cluster(folder) as held,
        compiled() as path,
        java(path, "Reference", held.zookeeper) as process,
    ):
        scanner = RawScanner(process)
        settings, regions = fill(held, scanner)
        with _bridge(settings, ALWAYS) as naming, _bridge(settings, NEVER) as whole:
            columns = list(naming.archive.catalogue().stored_columns(naming.archive.catalogue().table("ztf")))
            raw = RawSide(scanner, columns, [region.start for region in regions])
            for work in works():
                for count in COUNTS if work.columns is None and work.has_objects else ():
                    click.echo(f"  {work.name}, {count} columns", err=True)
                    yield _measure(work, _spread(columns, count), raw, (naming, whole), most_rounds)


@contextmanager
def _bridge(settings: Path, most: int) -> Iterator[Bridge]:
    archive, store = open_archive(load_settings(settings, environment={}))
    try:
        yield Bridge(archive, store, most)
    finally:
        store.close()


def _measure(work: Work, columns: Sequence[str], raw: RawSide, bridges: Sequence[Bridge], most_rounds: int) -> Turned:
    count = max(FEWEST, int(most_rounds * work.share))
    random = np.random.default_rng(7)
    draws = [work.draw(random) for _ in range(count)]

    def scanned(named: bool, request: Request) -> float:
        return raw.scanner.scan(TABLE, raw.ranges(request), columns, Way(named=named)).ms

    sides = [*(partial(scanned, named) for named in (True, False)), *(partial(bridge.ms, columns) for bridge in bridges)]
    times = rounds(draws, sides, warm=count // 2)
    return Turned(work.name, len(columns), count, *(float(np.median(side)) for side in times))


def _drain(view: RowView, scan: Scan) -> None:
    for _ in view.scan(scan):
        pass


def _spread(columns: Sequence[str], count: int) -> list[str]:
    """Take columns of all families alike."""
    return [columns[place] for place in np.linspace(0, len(columns) - 1, count).round().astype(int).tolist()]


def columns_table(found: Sequence[Turned]) -> str:
    """Lay the lines out as text."""
    rows = [("work", "columns", "n", "raw: by name ms", "whole ms", "ratio", "bridge: by name ms", "whole ms", "ratio")]
    for one in found:
        raw = (f"{one.raw_named:.2f}", f"{one.raw_whole:.2f}", f"{one.raw_named / one.raw_whole:.2f}")
        ours = (f"{one.ours_named:.2f}", f"{one.ours_whole:.2f}", f"{one.ours_named / one.ours_whole:.2f}")
        rows.append((one.name, str(one.columns), str(one.rounds), *raw, *ours))
    return aligned(rows)
