"""Retries: at which location, how often, and after which pause."""

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
    """How failed calls are retried.

    Parameters
    ----------
    most
        Consecutive failures that are tolerated; each row received resets the count.
    pause
        The pause before the first retry, s; it doubles each time. A pause that the server asks for takes precedence.
    longest
        The longest pause, s.
    """

    most: int = 8
    pause: float = 0.1
    longest: float = 10.0

    def begin(self, locations: tuple[str, ...]) -> Tries:
        """Return the tries of a new call, at the first location."""
        return Tries(self, locations)

    def call(self, locations: tuple[str, ...], ask: Callable[[str], T]) -> T:
        """Make a call with a single result, and retry it if its failure allows that.

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
            except (fl.FlightError, pa.ArrowException, OSError) as error:
                failure = to_domain(error, tries.location)
                if not tries.again(failure):
                    raise failure from error


FIRST = Retries(most=2)  # for the first call to a server, which may not exist


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
        """Reset the count of failures, since data arrived."""
        self._failures = 0

    def again(self, failure: AlertflightError) -> bool:
        """Return whether to retry at the current location, after waiting for the pause that is due."""
        where = TRANSPORT[failure.code].retry
        self._failures += 1
        alone = len(self._locations) == 1
        # a stopping server may be replaced by another one at its address, but corrupt data are not better there
        lasting = where == "never" or (where == "other" and alone and not _passing(failure))
        if lasting or self._failures > self._retries.most:
            return False
        if where == "other" or isinstance(failure, BackendLost):
            self._place += 1
        # pause only before a server that was called before
        if where == "here" or self._failures >= len(self._locations):
            time.sleep(self._pause(failure))
        return True

    def _pause(self, failure: AlertflightError) -> float:
        if failure.retry_after_ms is not None:
            return failure.retry_after_ms / 1000
        grown = self._retries.pause * 2.0 ** (self._failures - 1)
        return min(grown, self._retries.longest) * random.uniform(0.5, 1.0)  # noqa: S311  (jitter: clients do not all retry at once)


def _passing(failure: AlertflightError) -> bool:
    """Return whether a failure that calls for another location may also be temporary at this one."""
    return isinstance(failure, Draining | BrokenOff)
