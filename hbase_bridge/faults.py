"""Errors of the bridge."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BridgeFault", "GatewayLost"]


class BridgeFault(Exception):
    """The gateway reports an error.

    Parameters
    ----------
    code
        One of the error codes of the server, such as `table_refused`.
    message
        The reason, in words for the user.
    outage
        The service that does not answer, if it is known: `service`, `address`, `message`, and of a region `table` with its
        keys `start` and `stop` (Latin-1).
    """

    def __init__(self, code: str, message: str, outage: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.outage = outage


class GatewayLost(BridgeFault):
    """The gateway process ended or does not answer; the next one is being started."""

    def __init__(self, message: str) -> None:
        super().__init__("backend_lost", message)
