"""CancelFlightInfo for a client without a method for it: protobuf messages built by hand."""

from __future__ import annotations

import pyarrow.flight as fl

CANCELLED, NOT_CANCELLABLE = b"\x08\x01", b"\x08\x03"


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def request(info: fl.FlightInfo) -> bytes:
    packed = info.serialize()
    return b"\x0a" + varint(len(packed)) + packed


def cancel(client: fl.FlightClient, body: bytes) -> bytes:
    """Send a request and return the result."""
    (result,) = client.do_action(fl.Action("CancelFlightInfo", body))
    return bytes(result.body.to_pybytes())
