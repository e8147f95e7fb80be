"""A progress line on the terminal."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]

SECONDS = 0.1  # between two updates
WIDTH = 20


class Progress:
    """A progress line on standard error, which is removed at the end.

    Parameters
    ----------
    shown
        Whether to draw; None: if standard error is a terminal.
    parts
        The number of parts, if known.
    """

    def __init__(self, shown: bool | None = None, parts: int | None = None) -> None:
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._parts = parts
        self._drawn = 0
        self._next = 0.0

    def show(self, rows: int, done: int, before: int = 0) -> None:
        """Show the number of rows read, in addition to `before`, and of parts completed."""
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
        """Remove the line."""
        if self._drawn:
            sys.stderr.write("\r" + " " * self._drawn + "\r")
            sys.stderr.flush()
            self._drawn = 0
