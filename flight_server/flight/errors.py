"""Conversion of exceptions to Flight errors with our `extra_info`.

If a handler raises anything but a Flight error, the client gets a Python traceback. So all handlers and streams are
wrapped.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from uuid import uuid4

import pyarrow.flight as fl

from flight_server.protocol.errors import TRANSPORT, AlertflightError, InternalError

__all__ = ["detached", "guarded", "guarded_stream", "to_domain", "to_flight"]

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def to_domain(error: BaseException) -> AlertflightError:
    """Return the domain error; log any other exception and return an internal error with its ID in the log."""
    if isinstance(error, AlertflightError):
        return error
    error_id = uuid4().hex[:12]
    log.error("internal error %s", error_id, exc_info=error)
    return InternalError(f"the server failed; see error {error_id} in its log", error_id=error_id)


def detached(error: BaseException) -> AlertflightError:
    """Return the domain error without tracebacks, which would keep the frames of suspended generators and so their scans."""
    domain = to_domain(error)
    domain.__traceback__ = domain.__cause__ = domain.__context__ = None
    return domain


def to_flight(error: BaseException) -> fl.FlightError:
    """Return the Flight error of an exception, with the domain error in `extra_info`."""
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
            raise  # converted already, by a stream whose first message failed
        except Exception as error:  # noqa: BLE001  (clients get Flight errors only)
            failure = to_flight(error)
        raise failure

    return wrapper  # type: ignore[return-value]


def guarded_stream(items: Iterator[T]) -> Iterator[T]:
    """Wrap a stream so that only Flight errors leave it."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001  (clients get Flight errors only)
            failure = to_flight(error)
            break
        yield item
    raise failure
