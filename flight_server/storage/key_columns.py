"""Columns that are read out of row keys: the broker writes no cells of some, and the key has the value of others too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.declarations import Table
from flight_server.storage.keys import key_expression
from flight_server.storage.scans import Rows, Scan

__all__ = ["with_key_columns"]


def with_key_columns(scan: Scan, read: Callable[[Scan], Iterator[Rows]]) -> Iterator[Rows]:
    """Read rows, with the columns that their table has in the row key; see `Table.in_key`.

    Parameters
    ----------
    scan
        The scan.
    read
        Reads the rows of a scan of cells only.

    Returns
    -------
    rows
        Null in a column of the key whose row key is not built as the table declares.
    """
    names = scan.table.in_key
    if not names or not any(column.name in names for column in scan.columns):
        return read(scan)
    return _filled(scan, read(replace(scan, columns=scan.columns.without(names))))


def _filled(scan: Scan, found: Iterator[Rows]) -> Iterator[Rows]:
    names = scan.table.in_key
    for rows in found:
        parts = _parts(scan.table, rows.keys)
        cells = iter(rows.batch.columns)
        columns = [parts[column.name].cast(column.type) if column.name in names else next(cells) for column in scan.columns]
        yield replace(rows, batch=pa.RecordBatch.from_arrays(columns, schema=scan.schema))


def _parts(table: Table, keys: npt.NDArray[np.bytes_]) -> dict[str, pa.Array]:
    """Return the columns of the key as text, n values each."""
    found = pc.extract_regex(pa.array(keys, pa.binary()), _pattern(table.key, table.time, longer=table.keeps_each_alert))
    places = key_expression(table.key).columns
    return {name: _text(pc.struct_field(found, f"part{places.index(name)}")) for name in table.in_key}


def _text(values: pa.BinaryArray) -> pa.StringArray:
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:  # a key that is no UTF-8 is none of the table's
        return pa.array([_decoded(value) for value in values.to_pylist()], pa.string())


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


@cache
def _pattern(key: str, time: str | None, *, longer: bool) -> str:
    return key_expression(key).pattern(time, longer=longer)
