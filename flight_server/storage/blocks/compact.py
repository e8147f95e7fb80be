"""The part of Thrift's compact protocol that Parquet footers, page headers and offset indexes use.

Structs are dicts from field numbers to values. Rules: the Apache Thrift compact protocol specification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["BINARY", "I32", "I64", "LIST", "STRUCT", "CompactReader", "Listed", "encode_struct", "encode_texts"]

TRUE: Final = 1
FALSE: Final = 2
BYTE: Final = 3
I16: Final = 4
I32: Final = 5
I64: Final = 6
DOUBLE: Final = 7
BINARY: Final = 8
LIST: Final = 9
SET: Final = 10
MAP: Final = 11
STRUCT: Final = 12

DEEPEST = 16  # the structs of Parquet are nested less deeply
LONGEST_VARINT = 63
MORE = 0x80  # the bit of a varint byte that says that another byte follows
SHORT = 0x0F  # lists of fewer values have their length in the header


class CompactReader:
    """A sequential reader of values in a buffer.

    Data outside of the protocol, or beyond the end of the buffer, raise ValueError.

    Examples
    --------
    >>> reader = CompactReader(encode_struct({1: (I32, 7), 3: (BINARY, b"ab")}))
    >>> reader.struct(), reader.position
    ({1: 7, 3: b'ab'}, 7)
    """

    def __init__(self, data: bytes | bytearray | memoryview, position: int = 0) -> None:
        self.data = data
        self.position = position

    def struct(self, field: int = 0, depth: int = 0) -> dict[int, Any]:
        """Read a struct; `field` is the number of the last field that was already read."""
        found: dict[int, Any] = {}
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        while head := self.byte():
            field = field + (head >> 4) if head >> 4 else _signed(self.varint())
            found[field] = self._value(head & 0x0F, depth)
        return found

    def varint(self) -> int:
        """Read an unsigned varint."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & ~MORE) << shift
            if byte < MORE:
                return value
            shift += 7
            if shift > LONGEST_VARINT:
                raise ValueError("a number is too long")

    def byte(self) -> int:
        """Read a byte."""
        try:
            byte = self.data[self.position]
        except IndexError:
            raise ValueError("the data end too early") from None
        self.position += 1
        return byte

    def take(self, length: int) -> bytes:
        """Read `length` bytes."""
        end = self.position + length
        if end > len(self.data):
            raise ValueError("the data end too early")
        taken = self.data[self.position : end]
        self.position = end
        return bytes(taken)

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _READ:
            return _READ[kind](self)
        if kind == STRUCT:
            return self.struct(depth=depth + 1)
        if kind in (LIST, SET):
            return self._list(depth)
        if kind == MAP:
            return self._map(depth)
        raise ValueError(f"there is no type {kind}")

    def _list(self, depth: int) -> list[Any]:
        head = self.byte()
        length, kind = head >> 4, head & SHORT
        if length == SHORT:
            length = self.varint()
        if length > len(self.data) - self.position:
            raise ValueError("the data end too early")
        if kind in (TRUE, FALSE):  # one byte each in lists; in structs the type is the value
            return [self.byte() == TRUE for _ in range(length)]
        return [self._value(kind, depth) for _ in range(length)]

    def _map(self, depth: int) -> dict[Any, Any]:
        length = self.varint()
        if length == 0:
            return {}
        kinds = self.byte()
        return {self._value(kinds >> 4, depth): self._value(kinds & 0x0F, depth) for _ in range(length)}


_READ: dict[int, Callable[[CompactReader], Any]] = {
    TRUE: lambda _: True,
    FALSE: lambda _: False,
    BYTE: CompactReader.byte,
    I16: lambda reader: _signed(reader.varint()),
    I32: lambda reader: _signed(reader.varint()),
    I64: lambda reader: _signed(reader.varint()),
    DOUBLE: lambda reader: reader.take(8),
    BINARY: lambda reader: reader.take(reader.varint()),
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A list to encode: the type of its elements, and the elements."""

    kind: int
    values: Sequence[Any]


Fields = Mapping[int, tuple[int, Any]]


def encode_struct(fields: Fields) -> bytes:
    """Encode a struct: for each field number the type and value; a list is a `Listed`, a struct its own fields."""
    parts = []
    last = 0
    for number in sorted(fields):
        kind, value = fields[number]
        parts.append(bytes([(number - last) << 4 | kind]))  # field numbers of Parquet are never more than 15 apart
        parts.append(_encoded(kind, value))
        last = number
    return b"".join(parts) + b"\0"


def encode_texts(texts: Sequence[str]) -> bytes:
    """Encode a list of strings, such as the path of a column."""
    return _encoded(LIST, Listed(BINARY, [text.encode() for text in texts]))


def _encoded(kind: int, value: Any) -> bytes:
    if kind in (I32, I64):
        return _varint((value << 1) ^ (value >> 63))
    if kind == BINARY:
        return _varint(len(value)) + bytes(value)
    if kind == STRUCT:
        return encode_struct(value)
    if kind == LIST:
        length = len(value.values)
        head = bytes([length << 4 | value.kind]) if length < SHORT else bytes([0xF0 | value.kind]) + _varint(length)
        return head + b"".join(_encoded(value.kind, one) for one in value.values)
    raise ValueError(f"encoding of type {kind} is not supported")


def _varint(value: int) -> bytes:
    made = bytearray()
    while value >= MORE:
        made.append(value % MORE | MORE)
        value >>= 7
    made.append(value)
    return bytes(made)


def _signed(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
