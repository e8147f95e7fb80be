"""Who asks, and how long they wait; every call below a handler carries both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from flight_server.protocol.errors import DeadlinePassed, StreamCancelled

__all__ = ["NO_DEADLINE", "Caller", "Deadline"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, the number of this one request in the log, and whether the caller has gone away."""

    name: str = "anonymous"
    peer: str = ""
    request_id: str = field(default_factory=lambda: uuid4().hex[:12])
    cancelled: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Deadline:
    """How long work for a caller may go on.

    Parameters
    ----------
    deadline
        When it must be done, on the monotonic clock, seconds.
    seconds
        The time that it had, for the error.
    cancelled
        Says whether the caller has gone away.
    """

    deadline: float = math.inf
    seconds: float = math.inf
    cancelled: Callable[[], bool] = lambda: False

    @classmethod
    def of(cls, caller: Caller, seconds: float) -> Deadline:
        """Begin to wait for at most so many seconds."""
        return cls(time.monotonic() + seconds, seconds, caller.cancelled)

    def left(self) -> float:
        """Give the seconds that are left, zero or more."""
        return max(0.0, self.deadline - time.monotonic())

    def check(self) -> None:
        """Raise where the work should end.

        Raises
        ------
        DeadlinePassed, StreamCancelled
            The time is over, or the caller has gone away.
        """
        if time.monotonic() > self.deadline:
            raise DeadlinePassed(f"the answer took longer than {self.seconds:g} s: ask for less at once")
        if self.cancelled():
            raise StreamCancelled("the caller went away")


NO_DEADLINE = Deadline()
