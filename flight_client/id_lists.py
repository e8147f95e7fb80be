"""Lists of object IDs in files: one per line, a column of a CSV file, or a column of a Parquet file."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flight_server.protocol.errors import BadValue

__all__ = ["IdList", "read_ids"]

PARQUET = b"PAR1"
COMPRESSED = (b"\x1f\x8b", b"BZh", b"PK\x03\x04", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
# UTF-32 first: its mark begins as that of UTF-16 does
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
DELIMITERS = "\t,;|"
NO_DELIMITER = "\x1f"
SEPARATOR = re.compile(r"sep=([\t,;|])", re.IGNORECASE)
QUOTES = ("'", '"', "`")
UNSEEN = "\ufeff\u200b\u200e\u200f\u2060"  # marks that spreadsheets and web pages leave around a text
# names of a column of IDs, without case, punctuation and the family; the first that a file has is taken
ID_NAMES = (("objectid",), ("object", "objectname", "oid", "sourceid"), ("id", "ids"), ("name", "designation"))


@dataclass(frozen=True, slots=True)
class IdList:
    """The IDs of a file, and a line on how the file was understood; None if each line is an ID."""

    ids: list[str]
    remark: str | None = None


def read_ids(file: Path, column: str | None = None) -> IdList:
    """Read a list of IDs; empty lines and lines that begin with # are skipped.

    Parameters
    ----------
    file
        Text with one ID per line, CSV (with commas, semicolons, tabs or bars between the columns), or Parquet.
    column
        The column: its name in the header, or its number, from 1, in a file without a header. By default the only one, or
        the one that is named like IDs.

    Raises
    ------
    BadValue
        The file cannot be read, has no IDs, or the column is not clear; the message names the columns.
    """
    try:
        content = file.read_bytes()
        if content.startswith(PARQUET):
            return _of_parquet(file, column)
        rows = _rows(file, _text(file, content))
    except (OSError, UnicodeError, csv.Error, pa.ArrowException) as error:
        raise BadValue(f"{file} cannot be read: {error}", field="ids-file", value=file) from error
    found = _chosen(file, rows, column)
    if not found.ids:
        raise BadValue(f"{file} has no IDs", field="ids-file", value=file)
    return found


def _text(file: Path, content: bytes) -> str:
    """Decode text, whose encoding a byte order mark may tell."""
    if content.startswith(COMPRESSED):
        raise BadValue(f"{file} is compressed: unpack it", field="ids-file", value=file)
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    text = content.decode(encoding)
    if text.lstrip()[:1] in {"<", "{", "["}:
        message = f"{file} is XML or JSON: write its IDs to a file with one per line, a CSV or a Parquet file"
        raise BadValue(message, field="ids-file", value=file)
    return text


def _rows(file: Path, text: str) -> list[tuple[int, list[str]]]:
    """Return the lines that are not empty, each with its number and its cells; columns that are empty everywhere are left out."""
    numbered = enumerate(text.splitlines(), start=1)
    lines = [(number, line) for number, line in numbered if line.strip(UNSEEN).strip() and not line.lstrip().startswith("#")]
    if lines and (told := SEPARATOR.fullmatch(lines[0][1].strip(UNSEEN))):  # a line for spreadsheets
        delimiter = told[1]
        del lines[0]
    else:
        first = re.sub(r'"[^"]*"', "", lines[0][1]) if lines else ""
        delimiter = next((one for one in DELIMITERS if one in first), NO_DELIMITER)
    rows = []
    for number, line in lines:
        (cells,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True)
        rows.append((number, [_cell(file, number, cell) for cell in cells]))
    width = max((place + 1 for _, cells in rows for place, cell in enumerate(cells) if cell), default=0)
    return [(number, cells[:width]) for number, cells in rows if any(cells)]


def _cell(file: Path, number: int, text: str) -> str:
    """Return a cell without blanks, invisible marks and quotes around it."""
    text = text.strip(UNSEEN).strip()
    if len(text) > 1 and text[0] in QUOTES and text[0] == text[-1]:
        text = text[1:-1].strip()
    if not text.isprintable():
        raise BadValue(
            f"{file}, line {number}: {text!r:.60} has a character that cannot be printed", field="ids-file", value=text
        )
    return text


def _chosen(file: Path, rows: Sequence[tuple[int, list[str]]], column: str | None) -> IdList:
    if not rows:
        return IdList([])
    first = rows[0][1]
    if column is not None and column.isdecimal() and column not in first:
        return _column(file, rows, _place(file, int(column), len(first)), None)
    if column is not None or len(first) > 1:
        if not _is_header(first, rows[1:]) and column is None:
            message = (
                f"{file} has {len(first)} columns and no header: choose one with --ids-column NUMBER, or write one ID per line"
            )
            raise BadValue(message, field="ids-column", value=file)
        place = _named(file, first, column)
        return _column(file, rows[1:], place, f"the IDs are the column {first[place]} of {file}")
    if _is_header(first, rows[1:]):
        return _column(file, rows[1:], 0, f"the first line of {file}, {first[0]}, is taken as a header, not as an ID")
    return _column(file, rows, 0, None)


def _column(file: Path, rows: Sequence[tuple[int, list[str]]], place: int, remark: str | None) -> IdList:
    ids = []
    for number, cells in rows:
        if len(cells) <= place:
            message = f"{file}, line {number}: there is no column {place + 1}"
            raise BadValue(message, field="ids-file", value=number)
        if cells[place]:
            ids.append(cells[place])
    return IdList(ids, remark)


def _is_header(cells: Sequence[str], others: Sequence[tuple[int, list[str]]]) -> bool:
    """Return whether the first line names columns: one is named like IDs, or only the others have digits everywhere."""
    if any(_is_known(cell) for cell in cells):
        return True
    if len(cells) > 1:
        return not any(_is_number(cell) for cell in cells) and any(_is_number(cell) for _, line in others for cell in line)
    return bool(others) and not _has_digit(cells[0]) and all(_has_digit(line[0]) for _, line in others)


def _has_digit(text: str) -> bool:
    return any(letter.isdigit() for letter in text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain_name(name: str) -> str:
    """Return a name without its family, case and punctuation.

    >>> _plain_name("i:objectId"), _plain_name("Object ID")
    ('objectid', 'objectid')
    """
    return re.sub(r"[\W_]", "", name.rpartition(":")[2]).lower()


def _is_known(name: str) -> bool:
    return any(_plain_name(name) in names for names in ID_NAMES)


def _named(file: Path, names: Sequence[str], column: str | None) -> int:
    """Return the place of the column in a header."""
    if column is not None:
        for spelled in (str, _plain_name):
            places = [place for place, name in enumerate(names) if spelled(name) == spelled(column)]
            if len(places) == 1:
                return places[0]
        raise BadValue(f"{file} has no column {column!r:.60}; it has {_listed(names)}", field="ids-column", value=column)
    for known in ID_NAMES:
        places = [place for place, name in enumerate(names) if _plain_name(name) in known]
        if len(places) == 1:
            return places[0]
    raise BadValue(f"{file} has the columns {_listed(names)}: choose one with --ids-column", field="ids-column", value=file)


def _place(file: Path, number: int, width: int) -> int:
    if not 0 < number <= width:
        raise BadValue(f"{file} has no column {number}; it has {width}", field="ids-column", value=number)
    return number - 1


def _listed(names: Sequence[str]) -> str:
    shown = 12
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")


def _of_parquet(file: Path, column: str | None) -> IdList:
    names = pq.read_schema(file).names
    name = names[0] if column is None and len(names) == 1 else names[_named(file, names, column)]
    values = pq.ParquetFile(file).read(columns=[name])[name].cast(pa.string())
    ids = [value.strip() for value in values.to_pylist() if value and value.strip()]
    if not ids:
        raise BadValue(f"{file} has no IDs in its column {name}", field="ids-file", value=file)
    return IdList(ids, f"the IDs are the column {name} of {file}")
