"""The lines of `scripts/bench hbase-columns`: the number of columns from which whole families are faster than names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from measure import aligned, rounds, timed

from flight_server.execution.archive import Archive
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query
from flight_server.service.process import open_archive
from flight_server.settings import load_settings
from flight_server.storage.hbase import HBaseStore, requests
from flight_server.storage.protocols import RowView
from flight_server.storage.scans import Scan
from hbase.clusters import cluster
from hbase.cpu import Metered
from hbase.filling import TABLE, fill
from hbase.jvm import RawScanner, Way, compiled, java
from hbase.works import RawSide, Request, Work, works

__all__ = ["Turned", "bench_columns", "columns_table"]

COUNTS = (1, 3, 8, 16, 24, 32, 48, 64, 96, 130)
ALWAYS, NEVER = 1 << 30, 0  # settings of NAMED_MOST
FEWEST = 10


@dataclass(frozen=True, slots=True)
class Turned:
    """The measurement of one work with a number of columns.

    Parameters
    ----------
    name, columns, rounds
        What was read, and how often by each side.
    ms
        Medians: the raw scanner by name and of whole families, our bridge by name and of whole families.
    cpu
        Processor time of a request, ms, of all processes: the same four.
    """

    name: str
    columns: int
    rounds: int
    ms: tuple[float, ...]
    cpu: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the values for `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Bridge:
    """Our bridge in this process, which names at most `most` columns; each has its own gateway."""

    archive: Archive
    store: HBaseStore
    most: int

    @property
    def pid(self) -> int:
        """The process ID of the gateway."""
        pid = self.store.gateway.pid
        assert pid is not None
        return pid

    def ms(self, columns: Sequence[str], request: Request) -> float:
        """Read once; return the time in ms."""
        plan = self.archive.plan(Query(table="ztf", ids=request, columns=tuple(columns)), Caller())
        scan = Scan(table=plan.table, columns=plan.shape.columns, ids=plan.ids)
        held, requests.NAMED_MOST = requests.NAMED_MOST, self.most
        try:
            return timed(lambda: _drain(self.store.view(), scan))
        finally:
            requests.NAMED_MOST = held


@dataclass(frozen=True, slots=True)
class Sides:
    """The sides: the raw scanner, and our bridge by name and of whole families; with all their processes."""

    raw: RawSide
    bridges: tuple[Bridge, Bridge]
    processes: Mapping[str, Sequence[int]]

    def metered(self, columns: Sequence[str]) -> list[Metered]:
        """Return the four sides for some columns."""

        def scanned(named: bool, request: Request) -> float:
            return self.raw.scanner.scan(TABLE, self.raw.ranges(request), columns, Way(named=named)).ms

        calls = [partial(scanned, named) for named in (True, False)]
        return [Metered(self.processes, call) for call in (*calls, *(partial(bridge.ms, columns) for bridge in self.bridges))]


def bench_columns(folder: Path | None, most_rounds: int) -> Iterator[Turned]:
    """Measure; yield lines as they are ready."""
    with ExitStack() as stack:
        path = stack.enter_context(compiled())
        held = stack.enter_context(cluster(folder))
        scanner = RawScanner(stack.enter_context(java(path, "Reference", held.zookeeper)))
        settings, regions = fill(held, scanner)
        bridges = stack.enter_context(_bridge(settings, ALWAYS)), stack.enter_context(_bridge(settings, NEVER))
        catalog = bridges[0].archive.catalog()
        columns = list(catalog.stored_columns(catalog.table("ztf")))
        raw = RawSide(scanner, columns, [region.start for region in regions])
        sides = Sides(raw, bridges, {"all": [os.getpid(), scanner.pid, *(bridge.pid for bridge in bridges), *held.regionservers]})
        for work in works():
            for count in COUNTS if work.columns is None and work.has_objects else ():
                click.echo(f"  {work.name}, {count} columns", err=True)
                yield _measure(sides, work, _spread(columns, count), most_rounds)


@contextmanager
def _bridge(settings: Path, most: int) -> Iterator[Bridge]:
    archive, store = open_archive(load_settings(settings, environment={}))
    assert isinstance(store, HBaseStore)
    try:
        yield Bridge(archive, store, most)
    finally:
        store.close()


def _measure(sides: Sides, work: Work, columns: Sequence[str], most_rounds: int) -> Turned:
    count = max(FEWEST, int(most_rounds * work.share))
    random = np.random.default_rng(7)
    metered = sides.metered(columns)
    times = rounds([work.draw(random) for _ in range(count)], metered, warm=count // 2)
    medians = tuple(float(np.median(side)) for side in times)
    return Turned(work.name, len(columns), count, medians, tuple(side.mean(count)["all"] for side in metered))


def _drain(view: RowView, scan: Scan) -> None:
    for _ in view.scan(scan):
        pass


def _spread(columns: Sequence[str], count: int) -> list[str]:
    """Return columns spread evenly over the families."""
    return [columns[place] for place in np.linspace(0, len(columns) - 1, count).round().astype(int).tolist()]


def columns_table(found: Sequence[Turned]) -> str:
    """Format the lines as text; ratios are those of naming columns to reading whole families."""
    head = [f"{side}: {what}" for side in ("raw", "bridge") for what in ("by name ms", "whole ms", "ratio", "of CPU")]
    rows = [["work", "columns", "n", *head]]
    for one in found:
        cells = [str(one.columns), str(one.rounds)]
        for named, whole in ((0, 1), (2, 3)):
            cells += [f"{one.ms[named]:.2f}", f"{one.ms[whole]:.2f}"]
            cells += [f"{side[named] / side[whole]:.2f}" for side in (one.ms, one.cpu)]
        rows.append([one.name, *cells])
    return aligned(rows)
