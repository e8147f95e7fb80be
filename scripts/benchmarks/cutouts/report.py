"""The report of `scripts/bench cutouts`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from measure import aligned, spread

__all__ = ["Measured", "cutouts_table"]

MB = 1e6


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurement of one work, cold or warm.

    Parameters
    ----------
    name, state
        What was read; by a new reader (`cold`) or by one that is reused (`warm`).
    rounds
        The number of repetitions, by both sides in turn.
    ours, reference
        ms: lower quartile, median, upper quartile.
    ours_bytes, reference_bytes
        The bytes that one read takes from HDFS; for ours the median.
    faster, most_bytes
        The goals: speed relative to the reference, and bytes.
    way
        How the reference read.
    """

    name: str
    state: str
    rounds: int
    ours: tuple[float, float, float]
    reference: tuple[float, float, float]
    ours_bytes: float
    reference_bytes: int
    faster: float | None
    most_bytes: int | None
    way: str

    @property
    def times(self) -> float:
        """The speed relative to the reference."""
        return self.reference[1] / self.ours[1]

    @property
    def goal(self) -> str:
        """The goals as text."""
        words = [] if self.faster is None else [f">= {self.faster:g}x"]
        return ", ".join(words + ([] if self.most_bytes is None else [f"<= {self.most_bytes / MB:g} MB"]))

    @property
    def ok(self) -> bool | None:
        """Whether the goals are met; None without goals."""
        met = [] if self.faster is None else [self.times >= self.faster]
        met += [] if self.most_bytes is None else [self.ours_bytes <= self.most_bytes]
        return all(met) if met else None

    def as_json(self) -> dict[str, Any]:
        """Return the values for `--json`."""
        return {**asdict(self), "times": self.times, "ok": self.ok}


def cutouts_table(found: Sequence[Measured]) -> str:
    """Format the works as text."""
    rows = [
        ("work", "", "n", "ours ms", "reference ms", "faster", "ours MB", "ref. MB", "goal", "", "the reference's fastest way")
    ]
    for one in found:
        verdict = "" if one.ok is None else "met" if one.ok else "MISSED"
        times = (spread(one.ours), spread(one.reference), f"{one.times:.1f}x")
        sizes = (f"{one.ours_bytes / MB:.2f}", f"{one.reference_bytes / MB:.1f}")
        rows.append((one.name, one.state, str(one.rounds), *times, *sizes, one.goal, verdict, one.way))
    return aligned(rows, left=(0, 1, 8, 9, 10))
