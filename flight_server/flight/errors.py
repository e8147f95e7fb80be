"""Where errors leave the server: every one as a Flight error with our `extra_info`, none with a traceback.

Anything but a Flight error that a handler raises reaches the client as a Python traceback, so handlers and
streams are wrapped here, without exception.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from uuid import uuid4

import pyarrow.flight as fl

from flight_server.protocol.errors import TRANSPORT, AlertflightError, InternalError

__all__ = ["guarded", "guarded_stream", "to_domain", "to_flight"]

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def to_domain(error: BaseException) -> AlertflightError:
    """Give the domain error; one that is none is logged and becomes an internal error with an ID."""
    if isinstance(error, AlertflightError):
        return error
    error_id = uuid4().hex[:12]
    log.error("internal error %s", error_id, exc_info=error)
    return InternalError(f"the server failed; its log knows more under {error_id}", error_id=error_id)


def to_flight(error: BaseException) -> fl.FlightError:
    """Give the Flight error that carries a domain error."""
    domain = to_domain(error)
    cls = getattr(fl, TRANSPORT[domain.code].flight)
    made: fl.FlightError = cls(domain.message, domain.to_json())
    return made


def guarded(handler: F) -> F:
    """Wrap an RPC handler so that only Flight errors leave it."""

    @functools.wraps(handler)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except fl.FlightError:
            raise  # a stream's first message was refused, and says so already
        except Exception as error:  # noqa: BLE001  (nothing else may leave)
            failure = to_flight(error)
        raise failure

    return wrapper  # type: ignore[return-value]


def guarded_stream(items: Iterator[T]) -> Iterator[T]:
    """Wrap a stream in the same way."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001  (nothing else may leave)
            failure = to_flight(error)
            break
        yield item
    raise failure
