"""The lines of `scripts/bench hbase`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow.flight as fl
from measure import Line, Times, aligned, quartiles, rounds, spread
from memory import during
from processes import Served, configured_server

from hbase.clusters import cluster
from hbase.filling import TABLE, fill
from hbase.gateway import gateway_pid, peak
from hbase.jvm import RawScanner, Way, compiled, java
from hbase.public_way import PublicWay, public_way
from hbase.works import RawSide, Request, Work, check, works

__all__ = ["INCUMBENT", "Measured", "bench_hbase", "hbase_table"]

PUBLIC_GOAL = 0.1
GATEWAY_BYTES = 3 << 29  # 1.5 GiB
MIB = 1 << 20
FEWEST = 5
MANY_ROWS = 1000
INCUMBENT = (
    "For comparison: the public REST service itself on such a machine, 1,575 alerts x 130 columns as JSON over HTTP: "
    "1,016 ms, of which 968 inside (docs/performance.md)."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One work as it was measured; times are ms, with their quartiles around the median."""

    name: str
    columns: int
    rows: int
    rounds: int
    ours: tuple[float, float, float]
    raw: tuple[float, float, float]
    goal: str
    ok: bool | None
    way: str

    def as_json(self) -> dict[str, Any]:
        """Give what `--json` writes."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Bench:
    """One run: who is asked, what there is to read, and how many rounds of the shortest work."""

    raw: RawSide
    served: Served
    public: PublicWay
    most_rounds: int


def bench_hbase(folder: Path | None, most_rounds: int) -> Iterator[Measured | Line | str]:
    """Measure; gives lines as they are ready, and further tables."""
    with cluster(folder) as held, compiled() as path, java(path, "Reference", held.zookeeper) as process:
        scanner = RawScanner(process)
        settings, regions = fill(held, scanner)
        yield aligned([tuple(asdict(regions[0])), *(tuple(map(str, asdict(one).values())) for one in regions)], left=(0, 1, 2))
        with configured_server(settings) as served, public_way(path, held.zookeeper, TABLE) as public:
            command = fl.FlightDescriptor.for_command(b'{"table": "ztf", "all": true}')
            columns = served.client.get_schema(command).schema.names
            raw = RawSide(scanner, columns, [region.start for region in regions])
            bench = Bench(raw, served, public, most_rounds)
            for work in works():
                yield from _measure(bench, work)
            yield _gateway_memory(served)


def _measure(bench: Bench, work: Work) -> Iterator[Measured | Line | str]:
    count = max(FEWEST, int(bench.most_rounds * work.share))
    random = np.random.default_rng(7)
    requests = [work.draw(random) for _ in range(count)]
    rows = check(work, bench.raw, bench.served, requests[0])
    way = bench.raw.fastest(work, requests[: max(FEWEST, count // 4)])
    click.echo(f"  {work.name}: {way}", err=True)

    def ours(request: Request) -> float:
        return work.ours(bench.served, request)

    def raw(request: Request) -> float:
        return bench.raw.read(work, way, request).ms

    def public(request: Request) -> float:
        return bench.public.ms(*bench.raw.ranges(request)[0])

    sides = [ours, raw, *([public] if work.against_public else [])]
    times = rounds(requests, sides, warm=count // 2)
    yield _line(bench, work, rows, times, way)
    if work.against_public:
        yield bench.public.parts(count, float(np.median(times[1])))
    if rows > MANY_ROWS:
        name = f"server memory (RssAnon): {work.name}, {rows} rows"
        yield during(name, bench.served.pid, lambda: [ours(request) for request in requests[:FEWEST]])


def _line(bench: Bench, work: Work, rows: int, times: Sequence[Times], way: Way) -> Measured:
    medians = [float(np.median(side)) for side in times]
    added, ratio = medians[0] - medians[1], medians[0] / medians[1]
    goal, ok = "", None
    if work.against_public:
        public = medians[2] - medians[1]
        goal, ok = f"added <= {PUBLIC_GOAL:g} of {public:.0f} ms", added <= PUBLIC_GOAL * public
    elif work.most_added is not None:
        goal, ok = f"added <= {work.most_added:g} ms", added <= work.most_added
    elif work.most_ratio is not None:
        goal, ok = f"ratio <= {work.most_ratio:g}", ratio <= work.most_ratio
    columns = len(work.columns or bench.raw.columns)
    return Measured(work.name, columns, rows, len(times[0]), quartiles(times[0]), quartiles(times[1]), goal, ok, str(way))


def _gateway_memory(served: Served) -> Line:
    bytes_ = peak(gateway_pid(served.pid))
    note = f"{bytes_ / MIB:.0f} MiB at most in this run"
    return Line("gateway memory (VmHWM)", goal="<= 1.5 GiB", ok=bytes_ <= GATEWAY_BYTES, note=note)


def hbase_table(found: Sequence[Measured]) -> str:
    """Lay the works out as text."""
    head = ("work", "columns", "rows", "n", "ours ms", "raw ms", "ratio", "added ms", "goal", "", "the raw scanner's fastest way")
    rows = [head]
    for one in found:
        verdict = "" if one.ok is None else "met" if one.ok else "MISSED"
        added, ratio = one.ours[1] - one.raw[1], one.ours[1] / one.raw[1]
        counts = (str(one.columns), str(one.rows), str(one.rounds))
        times = (spread(one.ours), spread(one.raw), f"{ratio:.2f}", f"{added:.2f}")
        rows.append((one.name, *counts, *times, one.goal, verdict, one.way))
    return aligned(rows, left=(0, 8, 9, 10))
