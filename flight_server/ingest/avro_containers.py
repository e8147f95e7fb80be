"""Avro files as containers: their header, and their blocks joined to one stream.

Surveys send packets with one alert each. Packets of one schema are read as one stream, since to read the schema takes
longer than to read an alert.

See https://avro.apache.org/docs/1.12.0/specification/#object-container-files
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import fastavro

from flight_server.protocol.errors import BadValue

__all__ = ["CODECS", "Container", "Joined", "joined"]

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
CODECS = ("null", "deflate", "snappy", "bzip2", "xz", "zstandard", "lz4")
HEADER = {"type": "map", "values": "bytes"}
VARINT_BITS = 63


@dataclass(frozen=True, slots=True)
class Container:
    """The header of an Avro file: codec, marker behind each block, and the place of the first block."""

    codec: str
    marker: bytes
    first_block: int

    @classmethod
    def read(cls, content: memoryview) -> tuple[bytes, Container]:
        """Read the header; return the schema, JSON, and the rest of the header.

        Raises
        ------
        BadValue
            It is broken, or the codec is unknown.
        """
        entries, place = _map(content, len(MAGIC))
        codec = entries.get("avro.codec", b"null").decode("ascii", "replace")
        if "avro.schema" not in entries:
            raise _broken("there is no schema")
        if codec not in CODECS:
            message = f"the codec {codec!r:.40} of this Avro file cannot be read: write it with {', '.join(CODECS)}"
            raise BadValue(message, field="path", value=codec)
        marker = bytes(content[place : place + SYNC_BYTES])
        return entries["avro.schema"], cls(codec, marker, place + SYNC_BYTES)

    def blocks(self, content: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Yield the blocks of the file, each without the marker behind it: the number of records, and the bytes.

        Raises
        ------
        BadValue
            The file ends early, or a marker is not there.
        """
        place = self.first_block
        while place < len(content):
            start = place
            count, place = _long(content, place)
            size, place = _long(content, place)
            end = place + size
            if count < 0 or size < 0 or end + SYNC_BYTES > len(content):
                raise _broken("it ends early")
            if content[end : end + SYNC_BYTES] != self.marker:
                raise _broken(f"there is no marker at byte {end}")
            yield count, content[start:end]
            place = end + SYNC_BYTES


class Joined(io.RawIOBase):
    """A readable file of pieces of memory."""

    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; fewer only at the end."""
        found = bytearray()
        while size < 0 or len(found) < size:
            if not len(self._rest):
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._rest = memoryview(piece)
                continue
            left = len(self._rest) if size < 0 else size - len(found)
            found += self._rest[:left]
            self._rest = self._rest[left:]
        return bytes(found)


def joined(schema: bytes, parts: Sequence[tuple[Container, memoryview]]) -> Joined:
    """Return the blocks of several files as one Avro file with another schema; all have the codec of the first."""
    first = parts[0][0]

    def pieces() -> Iterator[bytes | memoryview]:
        yield MAGIC + _encoded({"avro.schema": schema, "avro.codec": first.codec.encode()}) + first.marker
        for container, content in parts:
            for _, block in container.blocks(content):
                yield block
                yield first.marker

    return Joined(pieces())


def _encoded(entries: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, HEADER, entries)
    return out.getvalue()


def _map(content: memoryview, place: int) -> tuple[dict[str, bytes], int]:
    """Return the entries of a map of bytes, and the place behind it."""
    entries = {}
    count, place = _long(content, place)
    while count:
        if count < 0:  # then its size in bytes follows
            count = -count
            _, place = _long(content, place)
        for _ in range(count):
            key, place = _bytes(content, place)
            value, place = _bytes(content, place)
            entries[key.decode("utf-8", "replace")] = value
        count, place = _long(content, place)
    return entries, place


def _bytes(content: memoryview, place: int) -> tuple[bytes, int]:
    size, place = _long(content, place)
    if size < 0 or place + size > len(content):
        raise _broken("it ends early")
    return bytes(content[place : place + size]), place + size


def _long(content: memoryview, place: int) -> tuple[int, int]:
    """Return a number in zigzag coding, and the place behind it."""
    value = shift = 0
    while True:
        if place >= len(content) or shift > VARINT_BITS:
            raise _broken("it ends early")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1), place


def _broken(reason: str) -> BadValue:
    return BadValue(f"the Avro file is broken: {reason}", field="path")
