"""Row keys: how a table's key expression makes them, and how asked IDs become ranges of them.

A key is text. Numbers stand in it as Java writes them (`2459092.8803819`), which for the Julian dates of
surveys is the shortest decimal with at least one digit after the point.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.errors import BadValue
from flight_server.storage.protocols import Span

__all__ = ["KeyExpression", "key_expression", "prefix_ranges"]

MAX_KEY_BYTES = 1024
NO_NUMBERS = pa.array(["nan.0", "inf.0", "-inf.0"])  # a key holds finite numbers only
_PART = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True, slots=True)
class KeyExpression:
    """A key such as `{i:objectId}_{i:jd}`: columns in braces, literal text between them."""

    columns: tuple[str, ...]
    literals: tuple[str, ...]  # what stands after each column

    def build(self, cells: Mapping[str, pa.Array]) -> pa.StringArray:
        """Make the key of each row.

        Parameters
        ----------
        cells
            The key's columns, n values each.

        Raises
        ------
        BadValue
            A part is null, too long, or holds the text that separates the parts; names column and row.
        """
        parts: list[pa.Array | pa.Scalar] = []
        for name, literal in zip(self.columns, self.literals, strict=True):
            if name not in cells:
                raise BadValue(f"there is no column {name}, which row keys need", field=name)
            text = _text(cells[name])
            _check(name, text, literal)
            parts += [text, pa.scalar(literal)] if literal else [text]
        return pc.binary_join_element_wise(*parts, pa.scalar(""))

    def prefix(self, column: str, value: str | int) -> bytes:
        """Give what all keys with this value of the first column begin with.

        >>> key_expression("{i:objectId}_{i:jd}").prefix("i:objectId", "ZTF20abfcszi")
        b'ZTF20abfcszi_'
        """
        if self.columns[0] != column:
            raise ValueError(f"keys do not begin with {column}")
        return f"{value}{self.literals[0]}".encode()

    def span(self, span: Span, time: str | None) -> tuple[bytes, bytes] | None:
        """Give the range [start, stop) of keys that holds all rows of a span; None where no key can be so.

        Bounds count where the column behind the values is `time`. An empty stop is the end of the table.

        >>> key = key_expression("{d:classification}_{i:jd}_{i:objectId}")
        >>> key.span(Span(values=("SN candidate",), start=2459000.5), "i:jd")
        (b'SN candidate_2459000.5', b'SN candidate`')
        """
        if len(span.values) >= len(self.columns):
            raise ValueError("a span names fewer values than a key has")
        front = "".join(f"{value}{literal}" for value, literal in zip(span.values, self.literals, strict=False))
        bounded = self.columns[len(span.values)] == time
        first = front + (_decimal(span.start) if bounded and span.start is not None else span.prefix)
        if len(first.encode()) > MAX_KEY_BYTES:
            return None
        if bounded and span.stop is not None:
            # a shorter text of a smaller time may sort behind that of a larger one, but not over the next whole day
            stop = f"{front}{math.floor(span.stop) + 1}".encode()
        else:
            stop = _behind((front + span.prefix).encode())
        return first.encode(), stop

    def first_part(self, key: bytes) -> bytes:
        """Give what all keys with the same value of the first column as this one begin with.

        >>> key_expression("{i:objectId}_{i:jd}").first_part(b"ZTF20abfcszi_2459063.9292593")
        b'ZTF20abfcszi_'
        """
        value, literal, _ = key.partition(self.literals[0].encode())
        return value + literal


@cache
def key_expression(text: str) -> KeyExpression:
    """Read a key expression.

    >>> key_expression("{i:objectId}_{i:jd}").columns
    ('i:objectId', 'i:jd')
    """
    pieces = _PART.split(text)
    if pieces[0] or not pieces[1:]:
        raise ValueError(f"{text!r} is not a key expression: it must begin with a column")
    return KeyExpression(tuple(pieces[1::2]), tuple(pieces[2::2]))


def _behind(prefix: bytes) -> bytes:
    """Give the first key behind all that begin with a prefix; empty for the table's end."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b""


def _decimal(value: float) -> str:
    """Write a number as keys do."""
    return str(np.format_float_positional(value, trim="0"))


def prefix_ranges(prefixes: Sequence[bytes]) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.bytes_]]:
    """Give the ranges [start, stop) that hold exactly the keys with each prefix.

    >>> prefix_ranges([b"ZTF20abfcszi_"])[1][0]
    np.bytes_(b'ZTF20abfcszi`')
    """
    return np.array(prefixes, dtype=np.bytes_), np.array([p[:-1] + bytes([p[-1] + 1]) for p in prefixes], dtype=np.bytes_)


def _text(values: pa.Array) -> pa.StringArray:
    text = values.cast(pa.string())
    if pa.types.is_floating(values.type):
        return pc.if_else(pc.match_substring(text, "."), text, pc.binary_join_element_wise(text, ".0", ""))
    return text


def _check(name: str, text: pa.StringArray, separator: str) -> None:
    for wrong, why in (
        (pc.is_in(text, NO_NUMBERS), "is no number"),
        (pc.is_null(text), "is null"),
        (pc.equal(text, ""), "is empty"),
        (pc.greater(pc.binary_length(text), MAX_KEY_BYTES), f"is longer than {MAX_KEY_BYTES} bytes"),
        (pc.match_substring(text, "\0"), "holds a NUL"),
        (pc.match_substring(text, separator or "\0"), f"holds {separator!r}, which ends it in row keys"),
    ):
        row = pc.index(pc.fill_null(wrong, fill_value=False), value=True).as_py()
        if row >= 0:
            raise BadValue(f"column {name}, row {row}: {text[row].as_py()!r:.60} {why}", field=name, value=text[row].as_py())
