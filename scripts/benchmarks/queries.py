"""The embedded part of `scripts/bench queries`: cones and classes against lookups, derived columns against pandas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from derived import bench_answers
from measure import Line, fact
from processes import real_server
from questions import RADII, Places, against_points, check
from store import ALERTS_EACH, build_one

__all__ = ["bench_queries"]

CHECKED = 3
DERIVED_ROWS = 10_000
DERIVED_SHARE = 20  # repetitions of a cone for one of the derived columns
FEWEST = 5
SKY = 41_253  # square degrees


def bench_queries(work: Path, rows: int, repeat: int) -> Iterator[Line]:
    """Measure; yield lines as they are ready."""
    with real_server(build_one(work, rows // ALERTS_EACH)[0]) as served:
        places = Places(served)
        check(served, places.draw(CHECKED))
        yield fact("embedded: density", _crowd(places, rows))
        yield from against_points(served, places, "embedded", repeat, judged=True)
    yield bench_answers(work, DERIVED_ROWS, max(FEWEST, repeat // DERIVED_SHARE))


def _crowd(places: Places, rows: int) -> str:
    """Return the density of the sky, which determines the cost of cones."""
    dec = np.radians(places.rows["i:dec"].to_numpy())
    area = SKY * float(np.sin(dec.max()) - np.sin(dec.min())) / 2
    within = len(places.rows) / area * np.pi * (RADII["1 degree"] / 3600) ** 2
    return f"{rows:,} alerts, {len(places.rows):,} places, about {within:.1f} in a cone of 1 degree"
