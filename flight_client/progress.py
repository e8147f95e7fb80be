"""A line on the terminal that says how far a reading has come."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]

SECONDS = 0.1  # between two drawings
WIDTH = 20


class Progress:
    """Draws itself over and over on standard error, and is gone at the end.

    Parameters
    ----------
    shown
        Whether to draw; None: if standard error is a terminal.
    parts
        How many parts there are, where that is known.
    """

    def __init__(self, shown: bool | None = None, parts: int | None = None) -> None:
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._parts = parts
        self._drawn = 0
        self._next = 0.0

    def show(self, rows: int, done: int, before: int = 0) -> None:
        """Say that so many rows, besides those before, and so many whole parts are there."""
        now = time.monotonic()
        if not self._shown or now < self._next:
            return
        self._next = now + SECONDS
        said = f"{before + rows:,} rows"
        if self._parts:
            full = WIDTH * done // self._parts
            said = f"[{'#' * full}{' ' * (WIDTH - full)}] {done} of {self._parts} parts, {said}"
        sys.stderr.write("\r" + said.ljust(self._drawn))
        sys.stderr.flush()
        self._drawn = len(said)

    def end(self) -> None:
        """Take the line away."""
        if self._drawn:
            sys.stderr.write("\r" + " " * self._drawn + "\r")
            sys.stderr.flush()
            self._drawn = 0
