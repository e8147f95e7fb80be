"""The lines of `scripts/bench hbase-ingest`: alerts a second into new tables, as one command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measure import aligned

from hbase.clusters import cluster
from hbase.filling import Filling, ingest_alerts
from hbase.jvm import RawScanner, compiled, java

__all__ = ["Ingested", "bench_ingest", "ingest_table"]

PREFIX = "benchingest_"
ALERTS = Filling(objects=200, alerts=25, long_alerts=0)


@dataclass(frozen=True, slots=True)
class Ingested:
    """One ingest: its alerts, the rows of all tables, the seconds that the command took."""

    alerts: int
    rows: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the values for `--json`."""
        return asdict(self)


def bench_ingest(folder: Path | None, runs: int) -> Iterator[Ingested]:
    """Ingest the same alerts some times, each time into new tables."""
    with compiled() as path, cluster(folder) as held, java(path, "Reference", held.zookeeper) as process:
        raw = RawScanner(process)
        settings = held.settings(PREFIX)
        for _ in range(runs):
            raw.ask("drop", prefix=PREFIX)
            said, seconds = ingest_alerts(settings, held.folder, ALERTS)
            rows = sum(int(count) for count in re.findall(r"(\d+) rows to", said))
            yield Ingested(ALERTS.rows, rows, seconds)
        raw.ask("drop", prefix=PREFIX)


def ingest_table(found: Sequence[Ingested]) -> str:
    """Format the runs as text."""
    rows = [("run", "alerts", "rows of all tables", "s", "alerts/s")]
    for number, one in enumerate(found, start=1):
        rows.append((str(number), str(one.alerts), str(one.rows), f"{one.seconds:.1f}", f"{one.alerts / one.seconds:.0f}"))
    median = float(np.median([one.alerts / one.seconds for one in found]))
    return aligned([*rows, ("median", "", "", "", f"{median:.0f}")])
