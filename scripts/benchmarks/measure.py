"""Interleaved timings of two sides, and their table."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Line", "Times", "aligned", "compare", "fact", "line", "quartiles", "rounds", "spread", "table", "timed"]

Times = npt.NDArray[np.float64]
T = TypeVar("T")
GARBAGE_ROUNDS = 50
TEN_MS = 10.0  # shorter times are shown to the microsecond


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table; times are in ms.

    Parameters
    ----------
    name, reference_name
        What was measured, and against what.
    ours, reference
        The median of each side, with its quartiles around it: (lower, median, upper). None where there is no such side.
    ratio
        Of the medians.
    goal
        The most that the ratio may be.
    note
        Additional text.
    ok
        Whether the goal is met; None without one.
    """

    name: str
    reference_name: str = ""
    ours: tuple[float, float, float] | None = None
    reference: tuple[float, float, float] | None = None
    ratio: float | None = None
    goal: str = ""
    ok: bool | None = None
    note: str = ""
    repeated: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the values for `--json`."""
        return asdict(self)


def timed(call: Callable[[], object]) -> float:
    """Return the time of one call, ms."""
    begun = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - begun) / 1e6


def compare(
    requests: Sequence[T], ours: Callable[[T], object], reference: Callable[[T], object], warm: Sequence[T] = ()
) -> tuple[Times, Times]:
    """Send each request to both sides in alternating order.

    Parameters
    ----------
    requests
        One per repetition.
    ours, reference
        The two sides.
    warm
        The number of untimed requests at the beginning.

    Returns
    -------
    times
        ms of each side, one per repetition.
    """
    sides = (ours, reference)
    for request in warm:
        for side in sides:
            side(request)
    found = np.empty((2, len(requests)))
    gc.collect()
    gc.disable()
    try:
        for number, request in enumerate(requests):
            for place in (0, 1) if number % 2 else (1, 0):
                side = sides[place]
                begun = time.perf_counter_ns()
                answer = side(request)
                found[place, number] = (time.perf_counter_ns() - begun) / 1e6
                del answer
    finally:
        gc.enable()
    return found[0], found[1]


def rounds(requests: Sequence[T], sides: Sequence[Callable[[T], float]], warm: int = 0) -> list[Times]:
    """Send each request to several sides that return their own ms, in rotating order.

    Parameters
    ----------
    requests
        One per round.
    sides
        The measured sides.
    warm
        The number of uncounted rounds at the beginning.

    Returns
    -------
    times
        ms of each side, one per round.
    """
    found = np.empty((len(sides), len(requests)))
    gc.collect()
    gc.disable()
    try:
        for number in range(-warm, len(requests)):
            for turn in range(len(sides)):
                place = (turn + number) % len(sides)
                found[place, number % len(requests)] = sides[place](requests[number % len(requests)])
            if number % GARBAGE_ROUNDS == 0:
                gc.collect()
    finally:
        gc.enable()
    return list(found)


def line(name: str, reference_name: str, times: tuple[Times, Times], most: float | None = None, note: str = "") -> Line:
    """Return a line with the times of two sides and the largest allowed ratio of their medians."""
    ours, reference = (quartiles(side) for side in times)
    ratio = ours[1] / reference[1]
    return Line(
        name,
        reference_name,
        ours,
        reference,
        ratio,
        goal="" if most is None else f"<= {most:g}x",
        ok=None if most is None else bool(ratio <= most),
        note=note,
        repeated=len(times[0]),
    )


def fact(name: str, note: str, times: Times | None = None, goal: str = "", ok: bool | None = None) -> Line:
    """Return a line without a reference."""
    return Line(
        name,
        ours=None if times is None else quartiles(times),
        goal=goal,
        ok=ok,
        note=note,
        repeated=0 if times is None else len(times),
    )


def table(lines: Sequence[Line]) -> str:
    """Format the lines as text."""
    head = ("line", "n", "ours ms", "reference ms", "ratio", "goal", "", "against / what")
    rows = [head]
    for one in lines:
        verdict = "" if one.ok is None else "ok" if one.ok else "MISSED"
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        what = "; ".join(word for word in (one.reference_name, one.note) if word)
        count = str(one.repeated or "")
        rows.append((one.name, count, spread(one.ours), spread(one.reference), ratio, one.goal, verdict, what))
    return aligned(rows, left=(0, 5, 6, 7))


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Align cells in columns: the columns `left` to the left, the others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    text = []
    for row in rows:
        cells = (
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def quartiles(times: Times) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    lower, median, upper = np.percentile(times, (25, 50, 75)).tolist()
    return lower, median, upper


def spread(values: tuple[float, float, float] | None) -> str:
    """Return a median with its quartiles in brackets."""
    if values is None:
        return ""
    digits = 3 if values[1] < TEN_MS else 1
    return f"{values[1]:.{digits}f} ({values[0]:.{digits}f}..{values[2]:.{digits}f})"
