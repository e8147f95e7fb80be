"""Until when work for a caller may go on; every call below a door carries it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import DeadlinePassed, StreamCancelled

__all__ = ["NO_DEADLINE", "Deadline"]


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of the time that work has, and whether its caller still waits.

    Parameters
    ----------
    at
        When the work must be done, on the monotonic clock, seconds.
    seconds
        The time that it had, for the error.
    cancelled
        Return whether the caller has gone away.
    """

    at: float = math.inf
    seconds: float = math.inf
    cancelled: Callable[[], bool] = lambda: False

    @classmethod
    def of(cls, caller: Caller, seconds: float) -> Self:
        """Return the deadline of work that begins now and may take so many seconds."""
        return cls(time.monotonic() + seconds, seconds, caller.cancelled)

    def left(self) -> float:
        """Return the seconds that are left, zero or more."""
        return max(0.0, self.at - time.monotonic())

    def check(self) -> None:
        """Raise where the work has to end.

        Raises
        ------
        DeadlinePassed, StreamCancelled
            The time is over, or the caller has gone away.
        """
        if time.monotonic() > self.at:
            raise DeadlinePassed(f"the answer took longer than {self.seconds:g} s: ask for less at once")
        if self.cancelled():
            raise StreamCancelled("the caller went away")


NO_DEADLINE = Deadline()
