"""The lines of `scripts/bench cutouts`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from hbase.clusters import cluster
from measure import quartiles, rounds

from cutouts.filling import Filling, Held, fill
from cutouts.report import Measured
from cutouts.works import Ours, Reference, Work, check, works

__all__ = ["bench_cutouts"]

FEWEST = 5
CALIBRATED = 3  # the reference's ways are compared on at least this many requests, or a quarter of them


def bench_cutouts(folder: Path | None, most_rounds: int, filling: Filling) -> Iterator[Measured]:
    """Measure each work, cold and warm; yield lines as they are ready."""
    with cluster(folder, "--regionservers", "0") as held:
        indexed, plain = fill(held, filling)
        for work in works():
            yield from _measure(work, indexed if work.indexed else plain, most_rounds)


def _measure(work: Work, held: Held, most_rounds: int) -> Iterator[Measured]:
    count = max(FEWEST, int(most_rounds * work.share))
    requests = work.requests(held, count)
    ours, reference = Ours(held.url, work.kinds), Reference(held.url, work.kinds)
    check(work, ours, reference, requests[0])
    reference.choose(requests[: max(CALIBRATED, count // 4)])
    click.echo(f"  {work.name}; reference: {reference.way}", err=True)
    for request in requests:  # so that both find the blocks known
        ours.warm(request)
    ours.warm_bytes.clear()
    times = rounds(requests, [ours.cold, reference.cold, ours.warm, reference.warm])
    reference_bytes = reference.bytes_read(requests[0])
    sides = {
        "cold": (times[:2], ours.cold_bytes, work.cold_faster, work.most_bytes),
        "warm": (times[2:], ours.warm_bytes, work.warm_faster, None),
    }
    for state, (pair, taken, faster, most_bytes) in sides.items():
        yield Measured(
            name=work.name,
            state=state,
            rounds=count,
            ours=quartiles(pair[0]),
            reference=quartiles(pair[1]),
            ours_bytes=float(np.median(taken)),
            reference_bytes=reference_bytes,
            faster=faster,
            most_bytes=most_bytes,
            way=str(reference.way),
        )
