"""Readers of files for `load`: Parquet, CSV and JSON records, each as one Arrow table."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from flight_server.ingest.archives import HEAD_BYTES, Part, Slice, Spool, parts_of
from flight_server.protocol.errors import BadValue

__all__ = ["Records", "read_records"]

PARQUET = b"PAR1"
HEADER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a file, without the columns in `left_out`, which hold no single values.

    `preamble` is a line in front of the header of a CSV file.
    """

    table: pa.Table
    left_out: Sequence[str] = ()
    preamble: str | None = None


def read_records(path: Path, texts: Iterable[str], needed: Container[str]) -> Records:
    """Read a file, whose format is detected by content.

    Parameters
    ----------
    path
        Parquet; JSON, a list of objects or one object per line; or CSV with a header line; also compressed, or alone in
        an archive.
    texts
        The columns of a CSV file to keep as text; the types of the others are inferred.
    needed
        The columns that must not be left out.

    Raises
    ------
    BadValue
        The file cannot be read; the message names column and row if there is one.
    """
    try:
        with Spool() as spool:
            content = _only(path, parts_of(path, spool, lambda _: True)).buffer()
            begin = content[:HEAD_BYTES].to_pybytes()
            if begin.startswith(PARQUET):
                return Records(pq.read_table(pa.BufferReader(content), partitioning=None))
            if begin.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"[", b"{"}:
                return _from_json(path, content, needed)
            return _from_csv(content, set(texts))
    except OSError as error:
        raise BadValue(f"the file cannot be read: {error.strerror or error}", field="path", value=path) from error
    except (pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
        raise BadValue(f"the file is broken: {error}"[:250], field="path", value=path) from error


def _only(path: Path, parts: Sequence[Part]) -> Slice:
    if len(parts) != 1 or parts[0].content is None:
        raise BadValue(
            f"there are {len(parts)} files in this archive: unpack it, and name those to load", field="path", value=path
        )
    return parts[0].content


def _from_csv(content: pa.Buffer, texts: set[str]) -> Records:
    begin = codecs.getincrementaldecoder("utf-8-sig")().decode(content[:HEADER_BYTES].to_pybytes())
    reader = csv.reader(io.StringIO(begin, newline=""))
    names, following = next(reader, []), next(reader, [])
    preamble = None
    if len(names) == 1 and len(following) > 1:  # the date of the list, as in those of TNS
        preamble, names = names[0], following
    _check_names(names)
    options = pa.csv.ConvertOptions(
        column_types={name: pa.string() for name in names if name in texts},
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
        null_values=[""],
    )
    table = pa.csv.read_csv(
        pa.BufferReader(content),
        read_options=pa.csv.ReadOptions(skip_rows=0 if preamble is None else 1),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=options,
    )
    return Records(table, preamble=preamble)


def _from_json(path: Path, content: pa.Buffer, needed: Container[str]) -> Records:
    text = content.to_pybytes().decode("utf-8-sig")
    try:
        records = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [json.loads(line) for line in text.splitlines() if line.strip()]
        )
    except json.JSONDecodeError as error:
        raise BadValue(f"the JSON is broken in line {error.lineno}: {error.msg}", field="path", value=path) from error
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            raise BadValue(f"row {row}: {str(record)[:40]!r} is not an object", field="path", value=path)
    columns, left_out = {}, []
    for name in dict.fromkeys(name for record in records for name in record):
        try:
            columns[name] = _column(name, records)
        except BadValue:
            if name in needed:
                raise
            left_out.append(name)
    return Records(pa.table(columns), left_out)


def _column(name: str, records: list[Mapping[str, Any]]) -> pa.Array:
    values = [record.get(name) for record in records]
    kinds: dict[type, int] = {}
    for row, value in enumerate(values):
        if value is not None:
            kinds.setdefault(type(value), row)
        if isinstance(value, dict | list):
            raise BadValue(f"column {name}, row {row}: {str(value)[:40]!r} is not a single value", field=name, value=value)
    if len(kinds) > 1 and not set(kinds) <= {int, float}:
        row = max(kinds.values())
        raise BadValue(f"column {name}, row {row}: {values[row]!r:.40} has another type than the rows before", field=name)
    try:
        return pa.array(values, pa.float64() if float in kinds else None)
    except (pa.ArrowInvalid, OverflowError):
        row = next(row for row, value in enumerate(values) if isinstance(value, int) and not -(2**63) <= value < 2**63)
        raise BadValue(f"column {name}, row {row}: {values[row]!r:.40} is too large", field=name) from None


def _check_names(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadValue(f"the column {twice} occurs twice in the file", field=twice)
