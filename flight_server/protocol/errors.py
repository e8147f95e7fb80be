"""The domain errors, and the table of their Flight and HTTP codes.

Every error that a user can see is a subclass of `AlertflightError`. Handlers look up
`TRANSPORT` to turn one into a Flight error or an HTTP status; the client library turns the
JSON of `extra_info` back into the same class with `from_info`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "ERRORS",
    "TRANSPORT",
    "AlertflightError",
    "BadValue",
    "CorruptData",
    "DeadlinePassed",
    "Draining",
    "InternalError",
    "InvalidTicket",
    "NoSelection",
    "NotSupported",
    "Overloaded",
    "RowTooLarge",
    "TooLarge",
    "Transport",
    "UnknownColumn",
    "UnknownField",
    "UnknownTable",
    "from_info",
]

MESSAGE_LENGTH = 299
VALUE_LENGTH = 80


def shorten(text: str, length: int) -> str:
    """Cut a text to `length` characters, with an ellipsis at the end if it was cut.

    >>> shorten("ZTF20abfcszi", 6)
    'ZTF20…'
    """
    return text if len(text) <= length else text[: length - 1] + "…"


class AlertflightError(Exception):
    """Base of all errors that users see.

    Parameters
    ----------
    message
        What is wrong and what to do, one or two sentences; cut to 299 characters.
    field
        The ticket field, column or option at fault.
    value
        The offending value; cut to 80 characters.
    error_id
        The ID of an internal error in the server's log.
    retry_after_ms
        Wait before a retry, ms.
    """

    code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        error_id: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(shorten(message, MESSAGE_LENGTH))
        self.field = None if field is None else shorten(field, VALUE_LENGTH)
        shown = json.dumps(value) if isinstance(value, bool) else str(value)
        self.value = None if value is None else shorten(shown, VALUE_LENGTH)
        self.error_id = error_id
        self.retry_after_ms = retry_after_ms

    @property
    def message(self) -> str:
        """The text that users see."""
        return str(self.args[0])

    def info(self) -> dict[str, Any]:
        """Return the error as the JSON object of `extra_info`."""
        return {
            "code": self.code,
            "message": self.message,
            "field": self.field,
            "value": self.value,
            "retry": TRANSPORT[self.code].retry,
            "retry_after_ms": self.retry_after_ms,
            "error_id": self.error_id,
        }

    def to_json(self) -> bytes:
        """Return `info` as UTF-8 JSON."""
        return json.dumps(self.info(), ensure_ascii=False).encode("utf-8", "replace")


class InvalidTicket(AlertflightError):
    """The ticket is not a JSON object of the documented form."""

    code = "invalid_ticket"


class UnknownField(AlertflightError):
    """The ticket holds a field that does not exist."""

    code = "unknown_field"


class UnknownTable(AlertflightError):
    """The catalog has no such table."""

    code = "unknown_table"


class UnknownColumn(AlertflightError):
    """The table has no such column."""

    code = "unknown_column"


class NoSelection(AlertflightError):
    """The ticket has a table, but no selection of rows."""

    code = "no_selection"


class BadValue(AlertflightError):
    """A field holds a value that it cannot have."""

    code = "bad_value"


class TooLarge(AlertflightError):
    """The request is larger than the server takes."""

    code = "too_large"


class RowTooLarge(AlertflightError):
    """One row does not fit into a message of the requested size."""

    code = "row_too_large"


class NotSupported(AlertflightError):
    """The request is well formed, but this server or table cannot do it."""

    code = "not_supported"


class CursorMismatch(AlertflightError):
    """The cursor belongs to another query."""

    code = "cursor_mismatch"


class Unauthenticated(AlertflightError):
    """The caller is not authenticated."""

    code = "unauthenticated"


class Forbidden(AlertflightError):
    """The caller may not do this."""

    code = "forbidden"


class TableRefused(AlertflightError):
    """The table is not served, since its stored schema contradicts the catalog."""

    code = "table_refused"


class TableAbsent(TableRefused):
    """The table is not served, since the store behind the server has no such table."""


class Starting(AlertflightError):
    """The server is not ready yet."""

    code = "starting"


class Draining(AlertflightError):
    """The server is shutting down and accepts no new calls."""

    code = "draining"


class Overloaded(AlertflightError):
    """The server has reached a limit on concurrent work."""

    code = "overloaded"


class BackendLost(AlertflightError):
    """The store behind the server is not reachable."""

    code = "backend_lost"


class DeadlinePassed(AlertflightError):
    """The answer took longer than the server allows."""

    code = "deadline"


class StreamCancelled(AlertflightError):
    """The stream was cancelled."""

    code = "cancelled"


class CorruptData(AlertflightError):
    """Stored bytes differ from what was written."""

    code = "corrupt_data"


class InternalError(AlertflightError):
    """A bug or fault of the server; see its log at `error_id`."""

    code = "internal"


@dataclass(frozen=True, slots=True)
class Transport:
    """The Flight class and HTTP status of an error code, and where a retry makes sense."""

    flight: str
    http: int
    retry: str


# FlightCancelledError is not used for `cancelled`: pyarrow's reader turns it into KeyboardInterrupt.
TRANSPORT: dict[str, Transport] = {
    "invalid_ticket": Transport("FlightServerError", 400, "never"),
    "unknown_field": Transport("FlightServerError", 400, "never"),
    "unknown_table": Transport("FlightServerError", 400, "never"),
    "unknown_column": Transport("FlightServerError", 400, "never"),
    "no_selection": Transport("FlightServerError", 400, "never"),
    "bad_value": Transport("FlightServerError", 400, "never"),
    "too_large": Transport("FlightServerError", 400, "never"),
    "row_too_large": Transport("FlightServerError", 400, "never"),
    "not_supported": Transport("FlightServerError", 400, "never"),
    "cursor_mismatch": Transport("FlightServerError", 400, "never"),
    "unauthenticated": Transport("FlightUnauthenticatedError", 401, "never"),
    "forbidden": Transport("FlightUnauthorizedError", 403, "never"),
    "table_refused": Transport("FlightUnavailableError", 503, "other"),
    "starting": Transport("FlightUnavailableError", 503, "here"),
    "draining": Transport("FlightUnavailableError", 503, "other"),
    "overloaded": Transport("FlightUnavailableError", 429, "here"),
    "backend_lost": Transport("FlightUnavailableError", 503, "here"),
    "deadline": Transport("FlightTimedOutError", 504, "here"),
    "cancelled": Transport("FlightServerError", 499, "never"),
    "corrupt_data": Transport("FlightInternalError", 500, "other"),
    "internal": Transport("FlightInternalError", 500, "other"),
}

ERRORS: dict[str, type[AlertflightError]] = {cls.code: cls for cls in AlertflightError.__subclasses__()}


def from_info(info: bytes | str) -> AlertflightError | None:
    """Return the error in the JSON of `extra_info`, or None if it is none of ours.

    >>> from_info('{"code": "unknown_table", "message": "no table ztff", "field": "table"}')
    UnknownTable('no table ztff')
    """
    try:
        fields = json.loads(info)
        cls = ERRORS[fields["code"]]
        return cls(
            fields["message"],
            field=fields.get("field"),
            value=fields.get("value"),
            error_id=fields.get("error_id"),
            retry_after_ms=fields.get("retry_after_ms"),
        )
    except (ValueError, KeyError, TypeError):
        return None
