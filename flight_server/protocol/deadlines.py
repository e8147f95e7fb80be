"""The deadline of a request; passed down to every layer below the RPC handlers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import DeadlinePassed, StreamCancelled

__all__ = ["NO_DEADLINE", "Deadline", "Sending"]


@dataclass(slots=True)
class Sending:
    """Whether rows of an answer were sent, so that it is worth to wait for what it needs further."""

    has_begun: bool = False


@dataclass(frozen=True, slots=True)
class Deadline:
    """The time by which work must be done, and whether its caller still waits.

    Parameters
    ----------
    at
        The deadline on the monotonic clock, seconds.
    seconds
        The time allowed, for the error.
    cancelled
        Return whether the caller has hung up.
    sending
        The progress of the answer.
    """

    at: float = math.inf
    seconds: float = math.inf
    cancelled: Callable[[], bool] = lambda: False
    sending: Sending = field(default_factory=Sending, compare=False)

    @classmethod
    def of(cls, caller: Caller, seconds: float, sending: Sending | None = None) -> Self:
        """Return the deadline of work that begins now and may take this many seconds; `sending` is that of earlier work."""
        return cls(time.monotonic() + seconds, seconds, caller.cancelled, sending or Sending())

    def left(self) -> float:
        """Return the seconds left, zero or more."""
        return max(0.0, self.at - time.monotonic())

    def check(self) -> None:
        """Raise if the work has to end.

        Raises
        ------
        DeadlinePassed, StreamCancelled
            The deadline has passed, or the caller has hung up.
        """
        if time.monotonic() > self.at:
            raise DeadlinePassed(f"the answer took longer than {self.seconds:g} s: ask for less at once")
        if self.cancelled():
            raise StreamCancelled("the caller hung up")


NO_DEADLINE = Deadline()
