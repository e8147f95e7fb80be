"""Decompression of cutouts to plain FITS."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import TypeAlias

import pyarrow as pa
from isal import isal_zlib
from isal.igzip_lib import IsalError

__all__ = ["Content", "unpack", "unpacked"]

GZIP_MAGIC = b"\x1f\x8b"
FITS_MAGIC = b"SIMPLE"
GZIP_WINDOW = 31

Content: TypeAlias = bytes | memoryview


def unpacked(stamps: pa.BinaryArray, most: int) -> tuple[pa.BinaryArray, dict[int, str]]:
    """Unpack cutouts to plain FITS.

    Parameters
    ----------
    stamps
        n cutouts as stored, gzip or plain; null where there is none.
    most
        The largest unpacked size of a cutout, bytes.

    Returns
    -------
    stamps and faults
        The cutouts, null where unpacking failed; and the reasons by index.
    """
    contents, faults = unpack(stamps, most)
    return pa.array(contents, pa.binary()), faults


def unpack(stamps: pa.BinaryArray, most: int) -> tuple[list[Content | None], dict[int, str]]:
    """Return the FITS file of each cutout; a plain one is not copied.

    Parameters
    ----------
    stamps
        n cutouts as stored, gzip or plain; null where there is none.
    most
        The largest unpacked size of a cutout, bytes; never more memory is allocated for one.

    Returns
    -------
    contents and faults
        n files, None where there is none; and the reasons of failures by index: `bad_gzip`,
        `too_large`, `not_fits`.
    """
    contents: list[Content | None] = []
    faults: dict[int, str] = {}
    for place, stamp in enumerate(stamps):
        if not stamp.is_valid:
            contents.append(None)
            continue
        found, content = memoryview(stamp.as_buffer()).cast("B"), None
        try:
            content = _gunzip(found, most) if found[:2] == GZIP_MAGIC else found
        except (OSError, EOFError, zlib.error):
            faults[place] = "bad_gzip"
        if content is None:
            faults.setdefault(place, "too_large")
        elif content[: len(FITS_MAGIC)] != FITS_MAGIC:
            faults[place] = "not_fits"
        contents.append(None if place in faults else content)
    return contents, faults


def _gunzip(stamp: memoryview, most: int) -> bytes | None:
    """Unpack one cutout and verify its checksum; return None if it has more than `most` bytes."""
    content = _member(stamp, most)
    if content is None:
        # unusual: broken, larger, or of several members; the standard library distinguishes these
        with gzip.GzipFile(fileobj=io.BytesIO(stamp)) as file:
            content = file.read(most + 1)
    return content if len(content) <= most else None


def _member(stamp: memoryview, most: int) -> bytes | None:
    """Unpack a cutout that is a single gzip member with its correct length; return None if it is not."""
    length = int.from_bytes(stamp[-4:], "little")
    unpacker = isal_zlib.decompressobj(GZIP_WINDOW)
    try:
        # one byte more, or the decompressor would not read the end marker
        content = unpacker.decompress(stamp, min(length, most) + 1)
    except IsalError:  # type: ignore[misc]  # the stub declares it as an instance
        return None
    return content if unpacker.eof and not unpacker.unused_data else None
