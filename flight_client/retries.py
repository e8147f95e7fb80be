"""Further tries: where, how often, and after how long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.flight as fl

from flight_client.calls import to_domain
from flight_client.connections import Interrupted
from flight_client.stream import BrokenOff
from flight_server.protocol.errors import TRANSPORT, AlertflightError, BackendLost, Draining

__all__ = ["FIRST", "Retries", "Tries"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retries:
    """How failures are met.

    Parameters
    ----------
    most
        Failures in a row that are borne; each row that comes begins the count anew.
    pause
        Before the second try, s; each further one is twice as long. What a server asks for comes first.
    longest
        The longest pause, s.
    """

    most: int = 8
    pause: float = 0.1
    longest: float = 10.0

    def begin(self, locations: tuple[str, ...]) -> Tries:
        """Begin to try, at the first location."""
        return Tries(self, locations)

    def call(self, locations: tuple[str, ...], ask: Callable[[str], T]) -> T:
        """Make a call that has one answer, trying again where its failure says that this makes sense.

        Raises
        ------
        AlertflightError
            The last failure.
        """
        tries = self.begin(locations)
        while True:
            try:
                return ask(tries.location)
            except Interrupted:
                continue
            except (fl.FlightError, pa.ArrowException) as error:
                failure = to_domain(error, tries.location)
                if not tries.again(failure):
                    raise failure from error


FIRST = Retries(most=2)  # of a server that nobody has seen answer


class Tries:
    """The tries of one call or endpoint: where the next one goes."""

    def __init__(self, retries: Retries, locations: tuple[str, ...]) -> None:
        self._retries = retries
        self._locations = locations
        self._place = 0
        self._failures = 0

    @property
    def location(self) -> str:
        """The server to ask now."""
        return self._locations[self._place % len(self._locations)]

    def progress(self) -> None:
        """Note that something came: the failures before are forgotten."""
        self._failures = 0

    def again(self, failure: AlertflightError) -> bool:
        """Say whether to try again, after the pause that is due and at the location that is next."""
        where = TRANSPORT[failure.code].retry
        self._failures += 1
        alone = len(self._locations) == 1
        # a server that ends may be followed by another one at its address, but data are not better there
        lasting = where == "never" or (where == "other" and alone and not _passing(failure))
        if lasting or self._failures > self._retries.most:
            return False
        if where == "other" or isinstance(failure, BackendLost):
            self._place += 1
        # a pause is for a server that was asked before
        if where == "here" or self._failures >= len(self._locations):
            time.sleep(self._pause(failure))
        return True

    def _pause(self, failure: AlertflightError) -> float:
        if failure.retry_after_ms is not None:
            return failure.retry_after_ms / 1000
        grown = self._retries.pause * 2.0 ** (self._failures - 1)
        return min(grown, self._retries.longest) * random.uniform(0.5, 1.0)  # noqa: S311  (so that many do not come at once)


def _passing(failure: AlertflightError) -> bool:
    """Say whether a failure that is better met elsewhere may pass where it came up."""
    return isinstance(failure, Draining | BrokenOff)
