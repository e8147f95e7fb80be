"""The report of `scripts/bench hbase`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from measure import aligned, spread

__all__ = ["INCUMBENT", "Measured", "cpu_table", "hbase_table"]

INCUMBENT = (
    "For comparison: the public REST service itself on such a machine, 1,575 alerts x 130 columns as JSON over HTTP: "
    "1,016 ms, of which 968 inside."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurement of one work.

    Parameters
    ----------
    name, columns, rows
        What was read.
    rounds
        The number of repetitions, by both sides in turn.
    ours, raw
        ms, end to end and in the raw scanner: lower quartile, median, upper quartile.
    ours_cpu, raw_cpu
        Processor time of a request, ms, by process.
    goal, ok
        The goal, and whether it was met.
    way
        How the raw scanner read.
    """

    name: str
    columns: int
    rows: int
    rounds: int
    ours: tuple[float, float, float]
    raw: tuple[float, float, float]
    ours_cpu: Mapping[str, float]
    raw_cpu: Mapping[str, float]
    goal: str
    ok: bool | None
    way: str

    def as_json(self) -> dict[str, Any]:
        """Return the values for `--json`."""
        return asdict(self)


def hbase_table(found: Sequence[Measured]) -> str:
    """Format the works as text."""
    head = ("work", "columns", "rows", "n", "ours ms", "raw ms", "ratio", "added ms", "goal", "", "the raw scanner's fastest way")
    rows = [head]
    for one in found:
        verdict = "" if one.ok is None else "met" if one.ok else "MISSED"
        added, ratio = one.ours[1] - one.raw[1], one.ours[1] / one.raw[1]
        counts = (str(one.columns), str(one.rows), str(one.rounds))
        times = (spread(one.ours), spread(one.raw), f"{ratio:.2f}", f"{added:.2f}")
        rows.append((one.name, *counts, *times, one.goal, verdict, one.way))
    return aligned(rows, left=(0, 8, 9, 10))


def cpu_table(found: Sequence[Measured]) -> str:
    """Format the processor time of a request, which others on the machine change little."""
    kinds = list(found[0].ours_cpu)
    rows = [("processor time of a request, ms", "rows", *kinds, "all")]
    for one in found:
        for side, spent in (("ours", one.ours_cpu), ("raw", one.raw_cpu)):
            each = (f"{spent[kind]:.2f}" for kind in kinds)
            rows.append((f"{one.name}, {one.columns} columns: {side}", str(one.rows), *each, f"{sum(spent.values()):.2f}"))
    return aligned(rows)
