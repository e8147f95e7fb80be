"""Readers of files for `load`: Parquet, CSV and JSON records, each as one Arrow table."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from flight_server.protocol.errors import BadValue

__all__ = ["read_records"]

PARQUET = b"PAR1"


def read_records(path: Path, texts: Iterable[str]) -> pa.Table:
    """Read a file, whose format is detected by content.

    Parameters
    ----------
    path
        Parquet; JSON, a list of objects or one object per line; or CSV with a header line.
    texts
        The columns of a CSV file to keep as text; the types of the others are inferred.

    Raises
    ------
    BadValue
        The file cannot be read; the message names column and row if there is one.
    """
    try:
        with path.open("rb") as handle:
            begin = handle.read(256)
        if begin.startswith(PARQUET):
            return pq.read_table(path, partitioning=None)
        if begin.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"[", b"{"}:
            return _from_json(path)
        return _from_csv(path, set(texts))
    except OSError as error:
        raise BadValue(f"the file cannot be read: {error.strerror or error}", field="path", value=path) from error
    except (pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
        raise BadValue(f"the file is broken: {error}"[:250], field="path", value=path) from error


def _from_csv(path: Path, texts: set[str]) -> pa.Table:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        names = next(csv.reader(handle), [])
    _check_names(names)
    options = pa.csv.ConvertOptions(
        column_types={name: pa.string() for name in names if name in texts},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    return pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(newlines_in_values=True), convert_options=options)


def _from_json(path: Path) -> pa.Table:
    text = path.read_text(encoding="utf-8-sig")
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
    names = list(dict.fromkeys(name for record in records for name in record))
    return pa.table({name: _column(name, records) for name in names})


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
