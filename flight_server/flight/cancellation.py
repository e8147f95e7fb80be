"""The action CancelFlightInfo of the Flight protocol; its body and result are protobuf messages."""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import BadValue
from flight_server.security.tickets import TicketOffice
from flight_server.service.streams import Streams

__all__ = ["cancel_plan"]

PACKAGE = "arrow.flight.protocol"
CANCELLED, NOT_CANCELLABLE = 1, 3  # of the enumeration CancelStatus


def cancel_plan(body: bytes, caller: Caller, tickets: TicketOffice, streams: Streams, now: float) -> bytes:
    """End the streams of a plan.

    Parameters
    ----------
    body
        The request.
    caller
        The caller; signed tickets must be theirs.
    tickets, streams
        The tickets and streams of the server.
    now
        The time, seconds since 1970.

    Returns
    -------
    result
        The serialized result: NOT_CANCELLABLE, and nothing is cancelled, if a ticket belongs to no plan.
    """
    try:
        info = fl.FlightInfo.deserialize(_info(body))
    except (pa.ArrowException, ValueError) as error:
        raise BadValue(
            "the body of CancelFlightInfo must be a CancelFlightInfoRequest with a FlightInfo", field="body"
        ) from error
    found = {tickets.read(end.ticket.ticket, caller, now, planned=False).plan for end in info.endpoints}
    plans = [plan for plan in found if plan is not None]
    if not plans or len(plans) < len(found):
        return _result(NOT_CANCELLABLE)
    streams.cancel(plans)
    return _result(CANCELLED)


def _info(body: bytes) -> bytes:
    """Return the serialized FlightInfo of the request; the last one, if it is repeated."""
    from google.protobuf.message import DecodeError

    try:
        request = _message_class("CancelFlightInfoRequest").FromString(body)
    except DecodeError as error:
        raise ValueError("no protobuf message") from error
    if not request.HasField("info"):
        raise ValueError("no info")
    return bytes(request.info)


def _result(status: int) -> bytes:
    made: bytes = _message_class("CancelFlightInfoResult")(status=status).SerializeToString()
    return made


@cache
def _message_class(name: str) -> Any:
    """Return the class of a message of Flight.proto.

    The declaration has the same wire format: the FlightInfo as bytes, which pyarrow parses, and the CancelStatus as int32.
    """
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

    file = FileDescriptorProto(name="CancelFlightInfo.proto", package=PACKAGE)
    optional = FieldDescriptorProto.LABEL_OPTIONAL
    request = file.message_type.add(name="CancelFlightInfoRequest")
    request.field.add(name="info", number=1, type=FieldDescriptorProto.TYPE_BYTES, label=optional)
    result = file.message_type.add(name="CancelFlightInfoResult")
    result.field.add(name="status", number=1, type=FieldDescriptorProto.TYPE_INT32, label=optional)
    pool = DescriptorPool()  # a pool of its own, since the application may have Flight.proto in the default one
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
