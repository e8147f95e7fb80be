"""CancelFlightInfo, an action of the Flight protocol itself: its body and its result are protobuf messages.

CancelFlightInfoRequest has `FlightInfo info = 1`, CancelFlightInfoResult has `CancelStatus status = 1`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import BadValue
from flight_server.security.tickets import TicketOffice
from flight_server.service.streams import Streams

__all__ = ["CANCELLED", "NOT_CANCELLABLE", "cancel_plan"]

CANCELLED, NOT_CANCELLABLE = b"\x08\x01", b"\x08\x03"  # field 1, a varint: the status
INFO = 1
FIXED = {1: 8, 5: 4}  # the bytes of a field's value by its wire type
VARINT, BYTES = 0, 2
LONGEST_VARINT = 10


def cancel_plan(body: bytes, caller: Caller, tickets: TicketOffice, streams: Streams, now: float) -> bytes:
    """End the streams of a plan.

    Parameters
    ----------
    body
        The request.
    caller
        Who cancels; signed tickets must be theirs.
    tickets, streams
        The server's.
    now
        The time, seconds since 1970.

    Returns
    -------
    result
        The result: `NOT_CANCELLABLE` where a ticket is of no plan, and then nothing is cancelled.
    """
    try:
        info = fl.FlightInfo.deserialize(_info(body))
    except (pa.ArrowException, ValueError) as error:
        raise BadValue("the body of CancelFlightInfo is no CancelFlightInfoRequest with a FlightInfo", field="body") from error
    found = {tickets.read(end.ticket.ticket, caller, now, planned=False).plan for end in info.endpoints}
    plans = [plan for plan in found if plan is not None]
    if not plans or len(plans) < len(found):
        return NOT_CANCELLABLE
    streams.cancel(plans)
    return CANCELLED


def _info(body: bytes) -> bytes:
    """Give the request's FlightInfo; a field that stands twice is taken as the last one of it."""
    found = [value for number, value in _fields(body) if number == INFO]
    if not found:
        raise ValueError("no info")
    return found[-1]


def _fields(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the fields of a protobuf message that hold bytes; others are passed over."""
    place = 0
    while place < len(body):
        tag, place = _varint(body, place)
        kind = tag & 7
        if kind == VARINT:
            _, place = _varint(body, place)
            continue
        if kind == BYTES:
            length, place = _varint(body, place)
        elif kind in FIXED:
            length = FIXED[kind]
        else:
            raise ValueError(f"wire type {kind}")
        if place + length > len(body):
            raise ValueError("cut off")
        if kind == BYTES:
            yield tag >> 3, body[place : place + length]
        place += length


def _varint(body: bytes, place: int) -> tuple[int, int]:
    """Read a number at a place; gives it and the place behind it."""
    value = 0
    for shift, byte in enumerate(body[place : place + LONGEST_VARINT]):
        value |= (byte & 127) << (7 * shift)
        if byte < 128:  # noqa: PLR2004  (the last one)
            return value, place + shift + 1
    raise ValueError("a number without an end")
