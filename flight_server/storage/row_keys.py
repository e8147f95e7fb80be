"""What other rooms may ask of row keys, without knowing how they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.declarations import Table
from flight_server.storage.keys import MAX_KEY_BYTES, key_expression, row_keys
from flight_server.storage.merge import key_array

__all__ = ["LONGEST_KEY", "check_keys", "keys_of_parts", "object_key", "object_keys"]

LONGEST_KEY = 4 * MAX_KEY_BYTES  # no row key is longer; a longer one would widen all that it is compared with


def object_key(table: Table, key: bytes) -> bytes:
    """Return what all row keys with the same first part as this one begin with: those of its object.

    >>> from flight_server.catalog.declarations import load_surveys
    >>> object_key(load_surveys()["ztf"].tables["ztf"], b"ZTF20abfcszi_2459063.9292593")
    b'ZTF20abfcszi_'
    """
    return key_expression(table.key).first_part(key)


def object_keys(table: Table, ids: Iterable[str | int]) -> list[bytes]:
    """Return what the row keys of objects begin with, as `object_key` does; the table is kept by object."""
    return [prefix.rstrip(b"\0") for prefix in key_expression(table.key).prefixes(table.id, ids)]


def check_keys(table: Table, rows: pa.Table) -> None:
    """Check that each row of a table can have a row key.

    Raises
    ------
    BadValue
        A part of a key is null, too long, or holds what it must not; names column and row.
    """
    row_keys(table, rows)


def keys_of_parts(table: Table, parts: Mapping[str, pa.Array]) -> npt.NDArray[np.bytes_]:
    """Return row keys that are made of these parts, n values each.

    Raises
    ------
    BadValue
        As `check_keys`.
    """
    return key_array(key_expression(table.key).build(parts, apart=False))
