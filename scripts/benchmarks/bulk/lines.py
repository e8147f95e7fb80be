"""The lines of `scripts/bench bulk`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from measure import Line, Times, line
from processes import bare_server, real_server
from store import ALERTS_EACH, build_one

from bulk.sets import COLUMNS, LAYOUTS, against_bare, draw

__all__ = ["Sizes", "bench_bulk"]

BARE_GOAL = 1.5


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many objects are read, and how often each line reads them all."""

    objects: int
    repeat: int


def bench_bulk(work: Path, sizes: Sizes) -> Iterator[Line]:
    """Measure; gives lines as they are ready."""
    folder, _, _ = build_one(work, sizes.objects)
    with real_server(folder) as real, bare_server(real, work) as bare:
        for asked in draw(real, sizes.objects):
            for layout in LAYOUTS:
                times = against_bare(asked, layout, real, bare, sizes.repeat)
                count = len(asked.tickets[layout])
                size = sum(answer.nbytes for answer in asked.read(bare, layout))
                note = f"{count} tickets one after the other, {speed(sizes.objects, size, times[0])}"
                yield said(line(f"{name(layout)}, {asked.order}", "bare server", times, BARE_GOAL, note))


def name(layout: str) -> str:
    """Give a layout in words."""
    return f"{'flat' if layout == 'rows' else layout}, {len(COLUMNS)} columns"


def speed(objects: int, size: int, times: Times) -> str:
    """Give the speed of a reading of all objects, whose answer has so many bytes."""
    seconds = float(np.median(times)) / 1000
    return f"{objects * ALERTS_EACH / seconds / 1e6:.2f} M rows/s, {size / seconds / 1e6:.0f} MB/s"


def said(found: Line) -> Line:
    """Show that a line is ready."""
    click.echo(f"  {found.name}", err=True)
    return found
