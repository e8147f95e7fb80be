"""Stamps in the format that a ticket asks for."""

from __future__ import annotations

import zlib
from collections import Counter

import pyarrow as pa

__all__ = ["unpacked"]

GZIP_MAGIC = b"\x1f\x8b"
FITS_MAGIC = b"SIMPLE"
GZIP_WINDOW = 31


def unpacked(stamps: pa.BinaryArray, most: int) -> tuple[pa.BinaryArray, Counter[str]]:
    """Unpack stamps to plain FITS.

    Parameters
    ----------
    stamps
        n stamps as stored, gzip or plain; null where there is none.
    most
        The largest stamp that is unpacked, bytes.

    Returns
    -------
    stamps and reasons
        What could not be unpacked is null, and counted by reason.
    """
    reasons: Counter[str] = Counter()
    made: list[bytes | None] = []
    for stamp in stamps:
        content, reason = _unpack(stamp.as_buffer(), most) if stamp.is_valid else (None, None)
        made.append(content)
        if reason:
            reasons[reason] += 1
    return pa.array(made, pa.binary()), reasons


def _unpack(stamp: pa.Buffer, most: int) -> tuple[bytes | None, str | None]:
    head = bytes(memoryview(stamp)[:6])
    if not head.startswith(GZIP_MAGIC):
        return (bytes(stamp), None) if head == FITS_MAGIC else (None, "not_fits")
    unpacker = zlib.decompressobj(GZIP_WINDOW)
    try:
        content = unpacker.decompress(memoryview(stamp), most + 1)
    except zlib.error:
        return None, "bad_gzip"
    if len(content) > most:
        return None, "too_large"
    if not unpacker.eof:
        return None, "bad_gzip"
    return (content, None) if content.startswith(FITS_MAGIC) else (None, "not_fits")
