"""Frames of the data channel; `Frame.java` is their counterpart.

A frame is a header of 48 bytes, little-endian, and a payload, each with a CRC-32C. The frames of a connection are
numbered. A payload has at most `MOST_BYTES`, which is checked before memory is allocated for it.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

import google_crc32c

from hbase_bridge.faults import BridgeFault, GatewayLost

__all__ = ["ALIVE", "BATCH", "END", "FAILED", "TABLE", "Frame", "make_frame", "read_frame"]

MAGIC = 0x544C4641  # AFLT
MOST_BYTES = 8 << 20
BATCH, END, FAILED, ALIVE, TABLE = 1, 2, 3, 4, 5
# magic, kind, scan, sequence number, rows, key width, bytes of the batch, bytes of the payload, its CRC, header's CRC
HEADER = struct.Struct("<IB3xQIIIIIII4x")
CHECKED = 40  # bytes of the header that its CRC covers


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame received."""

    kind: int
    rows: int
    key_width: int
    batch_bytes: int
    payload: bytes


def make_frame(
    kind: int, run: int, sequence: int, payload: bytes, *, rows: int = 0, key_width: int = 0, batch_bytes: int = 0
) -> bytes:
    """Return the header of a frame; the payload follows it on the wire."""
    if len(payload) > MOST_BYTES:
        raise ValueError(f"a frame of {len(payload)} bytes is too long")
    fields = (MAGIC, kind, run, sequence, rows, key_width, batch_bytes, len(payload), google_crc32c.value(payload))
    return HEADER.pack(*fields, google_crc32c.value(HEADER.pack(*fields, 0)[:CHECKED]))


def read_frame(connection: socket.socket, run: int, sequence: int) -> Frame:
    """Read the next frame of a run.

    Raises
    ------
    GatewayLost
        The stream ended, or nothing was received within the timeout of the connection.
    BridgeFault
        The frame is damaged or not the next one of the run.
    """
    header = _read(connection, HEADER.size)
    magic, kind, found, number, rows, key_width, batch_bytes, length, crc, header_crc = HEADER.unpack(header)
    if magic != MAGIC or header_crc != google_crc32c.value(header[:CHECKED]):
        raise BridgeFault("corrupt_data", "a frame of the gateway has a damaged header")
    if found != run or number != sequence or length > MOST_BYTES:
        raise BridgeFault("corrupt_data", f"the gateway sent frame {number} of run {found}, not {sequence} of {run}")
    payload = _read(connection, length) if length else b""
    if crc != google_crc32c.value(payload):
        raise BridgeFault("corrupt_data", f"frame {number} of the gateway is damaged")
    return Frame(kind, rows, key_width, batch_bytes, payload)


def _read(connection: socket.socket, length: int) -> bytes:
    """Read `length` bytes, without a copy if they are received at once."""
    parts = []
    left = length
    while left:
        try:
            part = connection.recv(left, socket.MSG_WAITALL)
        except BlockingIOError:
            raise GatewayLost("the gateway sends nothing any more") from None
        except OSError as error:
            raise GatewayLost(f"the connection to the gateway broke: {error.strerror}") from error
        if not part:
            raise GatewayLost("the gateway's stream ended before its end was said")
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
