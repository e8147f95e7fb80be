"""Conversion of object IDs to the type of a table's ID column."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from flight_server.protocol.errors import BadValue

__all__ = ["typed_ids"]


def typed_ids(ids: Sequence[str | int], kind: pa.DataType | None) -> Sequence[str | int]:
    """Return IDs in the type of a table's ID column.

    >>> typed_ids(("170028500000000000",), pa.int64())
    [170028500000000000]

    Raises
    ------
    BadValue
        An ID is of another type; names it.
    """
    if kind is not None and pa.types.is_integer(kind):
        return [_integer(value) for value in ids]
    if set(map(type, ids)) <= {str}:
        return ids
    value = next(value for value in ids if isinstance(value, int))
    raise BadValue(f"the IDs of this table are strings, not {value}", field="ids", value=value)


def _integer(value: str | int) -> int:
    if not isinstance(value, int) and not re.fullmatch(r"\d{1,19}", value):
        raise BadValue(f"the IDs of this table are integers, not {value!r:.60}", field="ids", value=value)
    return int(value)
