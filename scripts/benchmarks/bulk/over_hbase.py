"""The HBase part of `scripts/bench bulk`: 2,000 objects against the HBase client's own parallel scans of the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np
import pyarrow.flight as fl
from hbase.clusters import cluster
from hbase.filling import Filling, fill
from hbase.jvm import RawScanner, Scanned, Way, compiled, java
from hbase.works import MANY, fastest
from measure import Line, line, rounds, timed
from memory import during
from processes import Served, configured_server

from bulk.sets import COLUMNS, LAYOUTS

__all__ = ["bench_hbase_bulk"]

PREFIX = "bulk_"
TABLE = "bulk_ztf"
ALERTS = 25
OBJECTS, QUICK_OBJECTS = 2000, 200  # requested, out of twice as many
GOAL = 1.4
TRIED, WARM = 3, 2
WAYS = (*MANY, *(Way(named=True, by="region", parts=parts) for parts in (1, 2)), Way(named=True))


def bench_hbase_bulk(folder: Path | None, repeat: int, *, quick: bool) -> Iterator[Line]:
    """Measure; yield lines as they are ready."""
    objects = QUICK_OBJECTS if quick else OBJECTS
    filling = Filling(objects=objects // 2, alerts=ALERTS, long_alerts=0)
    with compiled() as path, cluster(folder) as held, java(path, "Reference", held.zookeeper) as process:
        raw = RawScanner(process)
        settings, _ = fill(held, raw, filling, PREFIX)
        random = np.random.default_rng(7)
        requests = [filling.some(random, objects) for _ in range(repeat)]
        with configured_server(settings) as served:
            _check(served, raw, requests[0])
            way = fastest(WAYS, requests[:TRIED], lambda way, ids: _scan(raw, way, ids).ms)
            sides = [partial(_ours, served, layout) for layout in LAYOUTS]
            *ours, reference = rounds(requests, [*sides, lambda ids: _scan(raw, way, ids).ms], warm=min(WARM, repeat))
            for layout, times in zip(LAYOUTS, ours, strict=True):
                words = "flat" if layout == "rows" else layout
                name = f"hbase: {objects} objects, {words}, {len(COLUMNS)} columns, shuffled"
                yield line(name, "raw parallel scan", (times, reference), GOAL, str(way))
            yield during("hbase: server memory (RssAnon)", served.pid, lambda: [_ours(served, "rows", ids) for ids in requests])


def _ask(served: Served, layout: str, ids: Sequence[str]) -> fl.FlightStreamReader:
    words = {"table": "ztf", "ids": ids, "columns": COLUMNS, "layout": layout}
    return served.client.do_get(fl.Ticket(json.dumps(words).encode()))


def _ours(served: Served, layout: str, ids: Sequence[str]) -> float:
    return timed(lambda: _ask(served, layout, ids).read_all())


def _scan(raw: RawScanner, way: Way, ids: Sequence[str]) -> Scanned:
    return raw.scan(TABLE, [(f"{name}_", f"{name}`") for name in ids], COLUMNS, way)


def _check(served: Served, raw: RawScanner, ids: Sequence[str]) -> None:
    """Check that both sides read the same cells."""
    answer = _ask(served, "rows", ids).read_all()
    cells = sum(len(column) - column.null_count for column in answer.columns)
    found = _scan(raw, Way(named=True, by="region"), ids)
    if (len(answer), cells) != (found.rows, found.cells) or len(answer) != len(ids) * ALERTS:
        ours, theirs = f"{len(answer)} rows with {cells} cells", f"{found.rows} with {found.cells}"
        raise click.ClickException(f"our answer has {ours}, that of the raw scanner {theirs}")
