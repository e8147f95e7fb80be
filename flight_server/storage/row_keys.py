"""Row keys for other packages, independent of their format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.declarations import Table
from flight_server.storage.keys import MAX_KEY_BYTES, key_expression, row_keys
from flight_server.storage.merge import key_array
from flight_server.storage.scans import Span

__all__ = ["LONGEST_KEY", "check_keys", "keys_of", "keys_of_parts", "object_key", "object_keys", "parts_of", "span_prefix"]

LONGEST_KEY = 4 * MAX_KEY_BYTES  # no row key is longer; numpy pads all keys of an array to the longest one


def object_key(table: Table, key: bytes) -> bytes:
    """Return the common prefix of the row keys of an object, given one of them.

    >>> from flight_server.catalog.declarations import load_surveys
    >>> object_key(load_surveys()["ztf"].tables["ztf"], b"ZTF20abfcszi_2459063.9292593")
    b'ZTF20abfcszi_'
    """
    return key_expression(table.key).first_part(key)


def object_keys(table: Table, ids: Iterable[str | int]) -> list[bytes]:
    """Return the prefix of the row keys of each object, as `object_key` does; row keys begin with the object ID."""
    return [prefix.rstrip(b"\0") for prefix in key_expression(table.key).prefixes(table.id, ids)]


def span_prefix(table: Table, span: Span) -> bytes | None:
    """Return the common prefix of the row keys of a span without bounds, or None if no such key is possible.

    >>> from flight_server.catalog.declarations import load_surveys
    >>> span_prefix(load_surveys()["ztf"].tables["ztf.sso_resolver"], Span(values=("8467",)))
    b'8467@'
    """
    found = key_expression(table.key).span(span, None)
    return None if found is None else found[0]


def check_keys(table: Table, rows: pa.Table) -> None:
    """Check that each row of a table has a valid row key.

    Raises
    ------
    BadValue
        A part of a key is null, too long, or has forbidden characters; names column and row.
    """
    row_keys(table, rows)


def keys_of(table: Table, rows: pa.Table) -> npt.NDArray[np.bytes_]:
    """Return the row keys of the rows of a table, n values.

    Raises
    ------
    BadValue
        See `check_keys`.
    """
    return key_array(row_keys(table, rows))


def parts_of(table: Table) -> tuple[str, ...]:
    """Return the columns that the row keys of a table are made of."""
    return key_expression(table.key).inputs


def keys_of_parts(table: Table, parts: Mapping[str, pa.Array]) -> npt.NDArray[np.bytes_]:
    """Return the row keys of these parts, n values each.

    Raises
    ------
    BadValue
        See `check_keys`.
    """
    return key_array(key_expression(table.key).build(parts, apart=False))
