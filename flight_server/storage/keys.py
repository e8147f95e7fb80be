"""Row keys: how a table's key expression makes them, and how asked IDs become ranges of them.

A key is text. Numbers stand in it as Java writes them (`2459092.8803819`), which for the Julian dates of
surveys is the shortest decimal with at least one digit after the point.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.declarations import Table
from flight_server.protocol.errors import BadValue
from flight_server.storage.scans import Scan, Span

__all__ = ["KeyExpression", "key_expression", "prefix_ranges", "row_keys"]

MAX_KEY_BYTES = 1024
NUL = "\0"
BREAK = "\n"
NEXT = b"\1"  # behind a key, the beginning of all keys that are longer
POLE = 90.0
NO_NUMBERS = pa.array(["nan.0", "inf.0", "-inf.0"])  # a key holds finite numbers only
_PART = re.compile(r"\{([^}]+)\}")
_MADE = re.compile(r"(lower|healpix)(\d*)\(([^()]+)\)")  # a part that is made of columns: lower(d:fullname)


@dataclass(frozen=True, slots=True)
class KeyExpression:
    """A key such as `{i:objectId}_{i:jd}`: its parts in braces, literal text between them and in front.

    Parameters
    ----------
    columns
        The parts, each a column, a name without a family that comes with the rows for the key alone, or what is made
        of columns: `lower(COLUMN)`, and `healpixNSIDE(RA,DEC)`, the pixel in ring order.
    literals
        What stands after each part.
    front
        What stands before the first one.
    """

    columns: tuple[str, ...]
    literals: tuple[str, ...]
    front: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that the key is made of."""
        made = [_MADE.fullmatch(part) for part in self.columns]
        names = (found.group(3).split(",") if found else [part] for part, found in zip(self.columns, made, strict=True))
        return tuple(name.strip() for part in names for name in part)

    def build(self, cells: Mapping[str, pa.Array], *, apart: bool = True) -> pa.StringArray:
        """Make the key of each row.

        Parameters
        ----------
        cells
            The columns that the key is made of, n values each.
        apart
            Whether no part may hold the text that separates it from the next one.

        Raises
        ------
        BadValue
            A part is null, too long, or holds what it must not; names column and row.
        """
        parts: list[pa.Array | pa.Scalar] = [pa.scalar(self.front)] if self.front else []
        for part, literal in zip(self.columns, self.literals, strict=True):
            text = _made(part, cells)
            if parts and part.startswith("lower("):
                text = text.fill_null("")  # of a name that is not known the key has nothing
                _check(part, text.filter(pc.not_equal(text, "")), "")
                parts += [text, pa.scalar(literal)] if literal else [text]
                continue
            _check(part, text, literal if apart else "")
            parts += [text, pa.scalar(literal)] if literal else [text]
        return pc.binary_join_element_wise(*parts, pa.scalar(""))

    def prefixes(self, column: str, values: Iterable[str | int]) -> list[bytes]:
        """Give what all keys with these values of the first column begin with, for `prefix_ranges`.

        >>> key_expression("{i:objectId}_{i:jd}").prefixes("i:objectId", ["ZTF20abfcszi"])
        [b'ZTF20abfcszi_']
        """
        if self.columns[0] != column:
            raise ValueError(f"keys do not begin with {column}")
        # where the value ends the key, a NUL, which no key has, keeps out those that it only begins
        front, end = self.front, self.literals[0] or NUL
        texts = [str(value) for value in values]
        if not texts:
            return []
        # all at once, since to encode one by one takes most of the time that finding them takes
        whole = f"{front}{f'{end}{BREAK}{front}'.join(texts)}{end}"
        if whole.count(BREAK) == len(texts) - 1:
            return whole.encode().split(BREAK.encode())
        return [f"{front}{text}{end}".encode() for text in texts]

    def span(self, span: Span, time: str | None) -> tuple[bytes, bytes] | None:
        """Give the range [start, stop) of keys that holds all rows of a span; None where no key can be so.

        Bounds count where the column behind the values is `time`. An empty stop is the end of the table.

        >>> key = key_expression("{d:classification}_{i:jd}_{i:objectId}")
        >>> key.span(Span(values=("SN candidate",), start=2459000.5), "i:jd")
        (b'SN candidate_2459000.5', b'SN candidate`')
        """
        if len(span.values) >= len(self.columns):
            raise ValueError("a span names fewer values than a key has")
        front = self.front + "".join(f"{value}{literal}" for value, literal in zip(span.values, self.literals, strict=False))
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

    def ranges(self, scan: Scan) -> list[tuple[int, bytes, bytes]]:
        """Give what a scan of a whole table or of spans selects: the span's number and a range [start, stop) of keys.

        An empty stop is the end of the table. Ranges in which no key can be are left out.
        """
        if scan.spans is None:
            spans: list[tuple[bytes, bytes] | None] = [(b"", b"")]
        else:
            spans = [self.span(span, scan.table.time) for span in scan.spans]
        within = self.whole_objects(scan.table, scan.within or (b"", b""))
        # keys are text, in which nothing comes before this character
        least = max(within[0], b"" if scan.after is None else scan.after + NEXT)
        found = []
        for number, span in enumerate(spans):
            if span is not None:
                start, stop = max(span[0], least), min((end for end in (span[1], within[1]) if end), default=b"")
                if not stop or start < stop:
                    found.append((number, start, stop))
        return found

    def split(self, scan: Scan, cuts: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        """Cut a scan of a whole table or of one span at those of some keys, ascending, that lie inside; see `RowView.parts`."""
        ranges = self.ranges(scan)
        if len(ranges) != 1:
            return [scan.within or (b"", b"")]
        _, start, stop = ranges[0]
        moved = (self.whole_objects(scan.table, (cut, b""))[0] for cut in cuts)
        inside = (cut for cut in moved if start < cut and (not stop or cut < stop) and _is_text(cut))
        ends = list(dict.fromkeys(inside))
        first, last = scan.within or (b"", b"")
        return list(zip([first, *ends], [*ends, last], strict=True))

    def whole_objects(self, table: Table, within: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        """Move the ends of a range of keys to where an object's rows begin, where the table is kept by object."""
        if not table.by_object:
            return within
        first, stop = (self.first_part(key) if self.literals[0].encode() in key else key for key in within)
        return first, stop

    def first_part(self, key: bytes) -> bytes:
        """Give what all keys with the same value of the first column as this one begin with.

        >>> key_expression("{i:objectId}_{i:jd}").first_part(b"ZTF20abfcszi_2459063.9292593")
        b'ZTF20abfcszi_'
        """
        if not self.literals[0]:
            return key
        front = len(self.front.encode())
        value, literal, _ = key[front:].partition(self.literals[0].encode())
        return key[:front] + value + literal


def row_keys(table: Table, rows: pa.Table) -> pa.StringArray:
    """Make the keys of a table's rows; see `KeyExpression.build`."""
    expression = key_expression(table.key)
    cells = {name: rows[name].combine_chunks() for name in expression.inputs if name in rows.column_names}
    # rows are asked for by the object's ID alone: no other object's keys may begin as its keys do
    return expression.build(cells, apart=table.by_object)


@cache
def key_expression(text: str) -> KeyExpression:
    """Read a key expression.

    >>> key_expression("{i:objectId}_{i:jd}").columns
    ('i:objectId', 'i:jd')
    """
    pieces = _PART.split(text)
    if not pieces[1:]:
        raise ValueError(f"{text!r} is not a key expression: it has no column")
    for part in pieces[1::2]:
        if "(" in part and not _MADE.fullmatch(part):
            raise ValueError(f"{text!r} is not a key expression: nothing makes {part!r}")
    return KeyExpression(tuple(pieces[1::2]), tuple(pieces[2::2]), pieces[0])


def _made(part: str, cells: Mapping[str, pa.Array]) -> pa.StringArray:
    """Give a part of each row's key as text."""
    found = _MADE.fullmatch(part)
    names = [name.strip() for name in found.group(3).split(",")] if found else [part]
    for name in names:
        if name not in cells:
            raise BadValue(f"there is no column {name}, which row keys need", field=name)
    if found is None:
        return _text(cells[part])
    if found.group(1) == "lower":
        return pc.utf8_lower(_text(cells[names[0]]))
    return _pixels(int(found.group(2)), *(cells[name] for name in names)).cast(pa.string())


def _pixels(nside: int, ra: pa.Array, dec: pa.Array) -> pa.Array:
    """Give the HEALPix pixels of positions in degrees, null where there is none."""
    from astropy_healpix.healpy import ang2pix

    lon, lat = (values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False) for values in (ra, dec))
    sound = np.isfinite(lon) & (np.abs(lat) <= POLE)
    found = ang2pix(nside, np.where(sound, lon, 0.0), np.where(sound, lat, 0.0), nest=False, lonlat=True)
    return pa.array(found.astype(np.int64), mask=~sound)


def _is_text(key: bytes) -> bool:
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


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
