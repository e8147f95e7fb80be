"""Errors of the bridge."""

from __future__ import annotations

__all__ = ["BridgeFault", "GatewayLost"]


class BridgeFault(Exception):
    """The gateway reports an error.

    Parameters
    ----------
    code
        One of the error codes of the server, such as `table_refused`.
    message
        The reason, in words for the user.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class GatewayLost(BridgeFault):
    """The gateway process ended or does not answer; the next one is being started."""

    def __init__(self, message: str) -> None:
        super().__init__("backend_lost", message)
