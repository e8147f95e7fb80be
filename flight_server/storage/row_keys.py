"""Row keys for other packages, independent of their format."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.declarations import Table
from flight_server.storage.key_parts import made_cells
from flight_server.storage.keys import MAX_KEY_BYTES, NEXT, NUL, key_expression, row_keys
from flight_server.storage.merge import key_array
from flight_server.storage.scans import Span

__all__ = [
    "LONGEST_KEY",
    "check_keys",
    "keys_of",
    "keys_of_parts",
    "made_cells",
    "object_key",
    "parts_of",
    "runs_of_numbers",
    "span_prefix",
    "time_text",
    "whole_day",
]

AFTER_POINT = "/"
MANY = 200
LONGEST_KEY = 4 * MAX_KEY_BYTES  # no row key is longer; numpy pads all keys of an array to the longest one


def object_key(table: Table, key: bytes) -> bytes:
    """Return the common prefix of the row keys of an object, given one of them.

    >>> from flight_server.catalog.declarations import load_surveys
    >>> object_key(load_surveys()["ztf"].tables["ztf"], b"ZTF20abfcszi_2459063.9292593")
    b'ZTF20abfcszi_'
    """
    return key_expression(table.key).first_part(key)


def runs_of_numbers(table: Table, chosen: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return runs of numbers that are neighbours in the order of row keys, which are text and begin with the number.

    Parameters
    ----------
    table
        The table.
    chosen
        The chosen numbers, n of them.
    count
        How many numbers there are: 0 to `count - 1`.

    Returns
    -------
    runs
        First and last number of each run, in the order of keys, shape (m, 2).

    Examples
    --------
    >>> from flight_server.catalog.declarations import load_surveys
    >>> table = load_surveys()["ztf"].tables["ztf.pixel128"]  # keys such as 103_2459000.5_ZTF20abfcszi
    >>> runs_of_numbers(table, np.array([1, 9, 10, 11, 103]), 12 * 128**2).tolist()
    [[103, 103], [10, 10], [11, 11], [1, 1], [9, 9]]
    >>> runs_of_numbers(table, np.arange(12), 12).tolist()
    [[0, 9]]
    """
    # of few numbers each may be alone: the texts of all others would take longer than what that saves
    numbers = chosen if len(chosen) < count // MANY else np.arange(count)
    texts = np.char.add(numbers.astype(np.bytes_), (key_expression(table.key).literals[0] or NUL).encode())
    order = numbers[np.argsort(texts, kind="stable")]
    if numbers is chosen:
        return np.stack([order, order], axis=1)
    inside = np.zeros(count, dtype=bool)
    inside[chosen] = True
    edges = np.flatnonzero(np.diff(np.concatenate(([False], inside[order], [False])).astype(np.int8)))
    runs: npt.NDArray[np.int64] = np.stack([order[edges[::2]], order[edges[1::2] - 1]], axis=1)
    return runs


def time_text(table: Table, span: Span, key: bytes) -> str:
    """Return the text of the time in a row key that a span selects."""
    return key_expression(table.key).text_of(span.values, key)


def whole_day(table: Table, span: Span, key: bytes) -> bytes:
    """Return the first key after all keys of a span whose time is on the same whole day, as text, as that of a key.

    >>> from flight_server.catalog.declarations import load_surveys
    >>> whole_day(load_surveys()["ztf"].tables["ztf.anomaly"], Span(), b"2459000.5_ZTF20abfcszi")
    b'2459000/'
    """
    text = time_text(table, span, key)
    day, point, _ = text.partition(".")
    if not point:  # texts of whole numbers sort apart
        return key + NEXT
    return f"{key_expression(table.key).front_of(span.values)}{day}{AFTER_POINT}".encode()


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
