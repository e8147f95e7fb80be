"""Row keys: built by a table's key expression, and looked up as ranges.

A row key is text. Numbers are formatted as in Java (`2459092.8803819`): for the Julian dates of surveys, the shortest
decimal with at least one digit after the point.
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
from flight_server.storage.key_parts import Salt, inputs_of, is_made, made_part, salt_of
from flight_server.storage.scans import Scan, Span

__all__ = ["KeyExpression", "key_expression", "prefix_ranges", "row_keys"]

MAX_KEY_BYTES = 1024
NUL = "\0"
BREAK = "\n"
NEXT = b"\1"  # appended to a key: the lower bound of all longer keys
NO_NUMBERS = pa.array(["nan.0", "inf.0", "-inf.0"])  # keys have finite numbers only
SEPARATOR = "_"  # of parts in most keys, and of the ID of an alert behind them
TIME_TEXT = r"[0-9]+\.[0-9E-]+"
_PART = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True, slots=True)
class KeyExpression:
    """A key expression such as `{i:objectId}_{i:jd}`: parts in braces, with literal text before and between them.

    Parameters
    ----------
    columns
        The parts. Each is a column, a name without a family (an extra column of the rows, used for the key only), or a
        function of columns: `lower(COLUMN)`, or `healpixNSIDE(RA,DEC)`, the pixel in RING order.
    literals
        The literal text after each part.
    front
        The literal text before the first part.
    salts
        The salt before each part, which spreads keys that would be written in their order, or None. It is a function of
        the same column and part of its text here: whoever names the value need not know of it.
    """

    columns: tuple[str, ...]
    literals: tuple[str, ...]
    front: str = ""
    salts: tuple[Salt | None, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns used in the key."""
        return tuple(dict.fromkeys(name for part in self.columns for name in inputs_of(part)))

    @property
    def skipped(self) -> int:
        """How many separators a key has before the end of its first part's value: that behind a salt."""
        return int(self.salts[0] is not None)

    def build(self, cells: Mapping[str, pa.Array], *, apart: bool = True) -> pa.StringArray:
        """Build the key of each row.

        Parameters
        ----------
        cells
            The columns used in the key, n values each.
        apart
            Whether to refuse parts that contain the separator after them.

        Raises
        ------
        BadValue
            A part is null, too long, or has forbidden characters; names column and row.
        """
        parts: list[pa.Array | pa.Scalar] = [pa.scalar(self.front)] if self.front else []
        for part, literal, salt in zip(self.columns, self.literals, self.salts, strict=True):
            text = made_part(part, cells)
            if parts and part.startswith("lower("):
                text = text.fill_null("")  # an unknown name is empty in the key
                _check(part, text.filter(pc.not_equal(text, "")), "")
                parts += [text, pa.scalar(literal)] if literal else [text]
                continue
            _check(part, text, literal if apart else "")
            parts += [salt.of_column(text), pa.scalar(SEPARATOR)] if salt else []
            parts += [text, pa.scalar(literal)] if literal else [text]
        return pc.binary_join_element_wise(*parts, pa.scalar(""))

    def prefixes(self, column: str, values: Iterable[str | int]) -> list[bytes]:
        """Return the key prefixes of values of the first column, for `prefix_ranges`.

        >>> key_expression("{i:objectId}_{i:jd}").prefixes("i:objectId", ["ZTF20abfcszi"])
        [b'ZTF20abfcszi_']
        """
        if self.columns[0] != column:
            raise ValueError(f"keys do not begin with {column}")
        # if nothing follows the value, a NUL, which no key has, excludes longer values with the same prefix
        front, end = self.front, self.literals[0] or NUL
        texts = [str(value) for value in values]
        if not texts:
            return []
        if (salt := self.salts[0]) is not None:
            return [f"{front}{salt.of_value(text)}{SEPARATOR}{text}{end}".encode() for text in texts]
        # encode all at once: one by one takes longer than the lookup itself
        whole = f"{front}{f'{end}{BREAK}{front}'.join(texts)}{end}"
        if whole.count(BREAK) == len(texts) - 1:
            return whole.encode().split(BREAK.encode())
        return [f"{front}{text}{end}".encode() for text in texts]

    def span(self, span: Span, time: str | None) -> tuple[bytes, bytes] | None:
        """Return the range [start, stop) of keys with all rows of a span, or None if no such key is possible.

        Bounds apply if the column after the values is `time`. An empty stop is the end of the table.

        >>> key = key_expression("{d:classification}_{i:jd}_{i:objectId}")
        >>> key.span(Span(values=("SN candidate",), start=2459000.5), "i:jd")
        (b'SN candidate_2459000.5', b'SN candidate`')
        """
        if len(span.values) > len(self.columns):
            raise ValueError("a span names more values than a key has")
        front = self.front_of(span.values)
        if len(span.values) == len(self.columns):
            return front.encode(), front.encode() + NEXT
        if span.last is not None:
            return front.encode(), _behind(self.front_of([*span.values[:-1], span.last]).encode())
        bounded = self.columns[len(span.values)] == time
        first = front + (_decimal(span.start) if bounded and span.start is not None else span.prefix)
        if len(first.encode()) > MAX_KEY_BYTES:
            return None
        if bounded and span.stop is not None:
            # a smaller time with a shorter text may sort after a larger one, but not after the next whole day
            stop = f"{front}{math.floor(span.stop) + 1}".encode()
        else:
            stop = _behind((front + span.prefix).encode())
        return first.encode(), stop

    def ranges(self, scan: Scan) -> list[tuple[int, bytes, bytes]]:
        """Return the key ranges of a scan of a whole table or of spans: index of the span, start, stop (excluded).

        An empty stop is the end of the table. Empty ranges are left out.
        """
        if scan.spans is None:
            spans: list[tuple[bytes, bytes] | None] = [(b"", b"")]
        else:
            spans = [self.span(span, scan.table.time) for span in scan.spans]
        within = self.whole_objects(scan.table, scan.within or (b"", b""))
        # keys are text without NUL, so no key sorts between a key and the same key with NEXT
        least = max(within[0], b"" if scan.after is None else scan.after + NEXT)
        found = []
        for number, span in enumerate(spans):
            if span is not None:
                ends = (span[1], within[1], scan.before or b"")
                start, stop = max(span[0], least), min((end for end in ends if end), default=b"")
                if not stop or start < stop:
                    found.append((number, start, stop))
        return found

    def split(self, scan: Scan, cuts: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        """Split a scan of a whole table or of one span at the given keys, ascending, that are inside; see `RowView.split`."""
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
        """Move the ends of a key range to object boundaries, if row keys begin with the object ID."""
        if not table.by_object:
            return within
        literal = self.literals[0].encode()
        first, stop = (self.first_part(key) if key.count(literal) > self.skipped else key for key in within)
        return first, stop

    def text_of(self, values: Sequence[str | int], key: bytes) -> str:
        """Return the text of the column that follows these values in a key.

        >>> key_expression("{d:classification}_{i:jd}_{i:objectId}").text_of(["SN_1"], b"SN_1_2459000.5_ZTF20abfcszi")
        '2459000.5'
        """
        literal = self.literals[len(values)].encode()
        rest = key[len(self.front_of(values).encode()) :]
        return (rest.partition(literal)[0] if literal else rest).decode()

    def pattern(self, time: str | None, *, longer: bool) -> str:
        """Return a regular expression that takes a row key apart, with a group `partN` for each part that is a column.

        The first part has all that is left over, so that it may contain separators.

        Parameters
        ----------
        time
            The part that is a time, which is told from other parts by its point.
        longer
            Whether keys may end with the ID of an alert, of several in one exposure.

        Examples
        --------
        >>> key = key_expression("{d:classification}_{i:jd}_{i:objectId}")
        >>> re.match(key.pattern("i:jd", longer=True), "SN_1_2459000.5_ZTF20abfcszi_1315")["part0"]
        'SN_1'
        """
        found = [re.escape(self.front)]
        for number, (part, literal, salt) in enumerate(zip(self.columns, self.literals, self.salts, strict=True)):
            text = ".*" if not number else TIME_TEXT if part == time else f"[^{re.escape(literal or SEPARATOR)}]*"
            before = f"[^{SEPARATOR}]*{SEPARATOR}" if salt else ""
            found.append(f"{before}(?P<part{number}>{text}){re.escape(literal)}")
        return f"^{''.join(found)}{f'(?:{SEPARATOR}[0-9]+)?' if longer else ''}$"

    def front_of(self, values: Sequence[str | int]) -> str:
        """Return the text of keys up to the column that follows these values."""
        parts = zip(values, self.literals, self.salts, strict=False)
        salted = ((f"{salt.of_value(str(value))}{SEPARATOR}" if salt else "", value, literal) for value, literal, salt in parts)
        return self.front + "".join(f"{salt}{value}{literal}" for salt, value, literal in salted)

    def first_part(self, key: bytes) -> bytes:
        """Return the common prefix of all keys with the same value of the first column as this key.

        >>> key_expression("{i:objectId}_{i:jd}").first_part(b"ZTF20abfcszi_2459063.9292593")
        b'ZTF20abfcszi_'
        """
        literal = self.literals[0].encode()
        if not literal:
            return key
        end = len(self.front.encode())
        for _ in range(1 + self.skipped):
            place = key.find(literal, end)
            if place < 0:
                return key
            end = place + len(literal)
        return key[:end]


def row_keys(table: Table, rows: pa.Table) -> pa.StringArray:
    """Build the keys of a table's rows; see `KeyExpression.build`."""
    expression = key_expression(table.key)
    cells = {name: rows[name].combine_chunks() for name in expression.inputs if name in rows.column_names}
    # rows are selected by the prefix with the object ID, so that no other object may have keys with this prefix
    return expression.build(cells, apart=table.by_object)


@cache
def key_expression(text: str) -> KeyExpression:
    """Parse a key expression.

    >>> key_expression("{i:objectId}_{i:jd}").columns
    ('i:objectId', 'i:jd')
    """
    front, *pieces = _PART.split(text)
    if not pieces:
        raise ValueError(f"{text!r} is not a key expression: it has no column")
    columns: list[str] = []
    literals: list[str] = []
    salts: list[Salt | None] = []
    salt = None
    for part, literal in zip(pieces[::2], pieces[1::2], strict=True):
        found = salt_of(part)
        if found is not None:
            if salt is not None or literal != SEPARATOR:
                raise ValueError(f"{text!r} is not a key expression: a salt stands before a part, with {SEPARATOR!r} between")
            salt = found
            continue
        if "(" in part and not is_made(part):
            raise ValueError(f"{text!r} is not a key expression: unknown function {part!r}")
        if salt is not None and (inputs_of(part) != (salt.column,) or literal not in {"", SEPARATOR}):
            raise ValueError(f"{text!r} is not a key expression: {salt} is no salt of {part}")
        columns.append(part)
        literals.append(literal)
        salts.append(salt)
        salt = None
    return KeyExpression(tuple(columns), tuple(literals), front, tuple(salts))


def _is_text(key: bytes) -> bool:
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def _behind(prefix: bytes) -> bytes:
    """Return the first key after all keys with a prefix; empty for the end of the table."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b""


def _decimal(value: float) -> str:
    """Format a number as in keys."""
    return str(np.format_float_positional(value, trim="0"))


def prefix_ranges(prefixes: Sequence[bytes]) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.bytes_]]:
    """Return the ranges [start, stop) with exactly the keys of each prefix.

    >>> prefix_ranges([b"ZTF20abfcszi_"])[1][0]
    np.bytes_(b'ZTF20abfcszi`')
    """
    return np.array(prefixes, dtype=np.bytes_), np.array([p[:-1] + bytes([p[-1] + 1]) for p in prefixes], dtype=np.bytes_)


def _check(name: str, text: pa.StringArray, separator: str) -> None:
    for wrong, why in (
        (pc.is_in(text, NO_NUMBERS), "is not a number"),
        (pc.is_null(text), "is null"),
        (pc.equal(text, ""), "is empty"),
        (pc.greater(pc.binary_length(text), MAX_KEY_BYTES), f"is longer than {MAX_KEY_BYTES} bytes"),
        (pc.match_substring(text, "\0"), "contains a NUL"),
        (pc.match_substring(text, separator or "\0"), f"contains {separator!r}, the separator in row keys"),
    ):
        row = pc.index(pc.fill_null(wrong, fill_value=False), value=True).as_py()
        if row >= 0:
            raise BadValue(f"column {name}, row {row}: {text[row].as_py()!r:.60} {why}", field=name, value=text[row].as_py())
