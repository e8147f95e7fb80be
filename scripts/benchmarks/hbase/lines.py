"""The lines of `scripts/bench hbase`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import pyarrow.flight as fl
from measure import Line, Times, aligned, quartiles, rounds
from memory import during
from processes import Served, configured_server

from hbase.clusters import cluster
from hbase.cpu import Metered
from hbase.filling import TABLE, fill
from hbase.gateway import gateway_pid, peak
from hbase.jvm import RawScanner, compiled, java
from hbase.public_way import PublicWay, public_way
from hbase.report import Measured
from hbase.stages import Staged, staged
from hbase.works import RawSide, Request, Work, check, works

__all__ = ["bench_hbase"]

PUBLIC_GOAL = 0.1
GATEWAY_BYTES = 3 << 29  # 1.5 GiB
MIB = 1 << 20
FEWEST = 5
MANY_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Bench:
    """One run: the servers, their processes, and the rounds of the shortest work; `staged` for a profile."""

    raw: RawSide
    served: Served
    public: PublicWay
    processes: Mapping[str, Sequence[int]]
    most_rounds: int
    staged: Staged | None


def bench_hbase(folder: Path | None, most_rounds: int, *, profile: bool) -> Iterator[Measured | Line | str]:
    """Measure; yield lines as they are ready, and additional tables."""
    with ExitStack() as stack:
        path = stack.enter_context(compiled())
        held = stack.enter_context(cluster(folder))
        scanner = RawScanner(stack.enter_context(java(path, "Reference", held.zookeeper)))
        settings, regions = fill(held, scanner)
        yield aligned([tuple(asdict(regions[0])), *(tuple(map(str, asdict(one).values())) for one in regions)], left=(0, 1, 2))
        served = stack.enter_context(configured_server(settings))
        public = stack.enter_context(public_way(path, held.zookeeper, TABLE))
        command = fl.FlightDescriptor.for_command(b'{"table": "ztf", "all": true}')
        columns = served.client.get_schema(command).schema.names
        raw = RawSide(scanner, columns, [region.start for region in regions])
        processes = {
            "client": [os.getpid()],
            "server": [served.pid],
            "gateway": [gateway_pid(served.pid)],
            "raw scanner": [scanner.pid],
            "RegionServers": held.regionservers,
        }
        aside = stack.enter_context(staged(settings)) if profile else None
        bench = Bench(raw, served, public, processes, most_rounds, aside)
        for work in works():
            yield from _measure(bench, work)
        yield _gateway_memory(served)


def _measure(bench: Bench, work: Work) -> Iterator[Measured | Line | str]:
    count = max(FEWEST, int(bench.most_rounds * work.share))
    random = np.random.default_rng(7)
    requests = [work.draw(random) for _ in range(count)]
    rows = check(work, bench.raw, bench.served, requests[0])
    way = bench.raw.fastest(work, requests[: max(FEWEST, count // 4)])
    click.echo(f"  {work.name}, {rows} rows; raw: {way}", err=True)

    def public(request: Request) -> float:
        return bench.public.ms(*bench.raw.ranges(request)[0])

    ours = Metered(bench.processes, lambda request: work.ours(bench.served, request))
    raw = Metered(bench.processes, lambda request: bench.raw.read(work, way, request).ms)
    times = rounds(requests, [ours, raw, *([public] if work.against_public else [])], warm=int(count * work.warm))
    goal, ok = _judge(work, times)
    yield Measured(
        name=work.name,
        columns=len(work.columns or bench.raw.columns),
        rows=rows,
        rounds=count,
        ours=quartiles(times[0]),
        raw=quartiles(times[1]),
        ours_cpu=ours.mean(count),
        raw_cpu=raw.mean(count),
        goal=goal,
        ok=ok,
        way=str(way),
    )
    if work.against_public:
        yield bench.public.parts(count, float(np.median(times[1])))
    if bench.staged and work.has_objects:
        yield bench.staged.table(work, bench.raw, way, bench.served, requests)
    if rows > MANY_ROWS:
        name = f"server memory (RssAnon): {work.name}, {rows} rows"
        yield during(name, bench.served.pid, lambda: [ours(request) for request in requests[:FEWEST]])


def _judge(work: Work, times: Sequence[Times]) -> tuple[str, bool | None]:
    """Return the goal as text, and whether the medians meet it."""
    medians = [float(np.median(side)) for side in times]
    added, ratio = medians[0] - medians[1], medians[0] / medians[1]
    if work.against_public:
        public = medians[2] - medians[1]
        return f"added <= {PUBLIC_GOAL:g} of {public:.0f} ms", added <= PUBLIC_GOAL * public
    if work.most_added is not None:
        return f"added <= {work.most_added:g} ms", added <= work.most_added
    if work.most_ratio is not None:
        return f"ratio <= {work.most_ratio:g}", ratio <= work.most_ratio
    return "", None


def _gateway_memory(served: Served) -> Line:
    bytes_ = peak(gateway_pid(served.pid))
    note = f"{bytes_ / MIB:.0f} MiB at most in this run"
    return Line("gateway memory (VmHWM)", goal="<= 1.5 GiB", ok=bytes_ <= GATEWAY_BYTES, note=note)
