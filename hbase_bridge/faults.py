"""What can go wrong with the bridge."""

from __future__ import annotations

__all__ = ["BridgeFault", "GatewayLost"]


class BridgeFault(Exception):
    """The gateway could not do what was asked.

    Parameters
    ----------
    code
        One of the error codes of the server, such as `table_refused`.
    message
        What happened, in words for the user.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class GatewayLost(BridgeFault):
    """The gateway went away or does not answer; another one is on its way."""

    def __init__(self, message: str) -> None:
        super().__init__("backend_lost", message)
