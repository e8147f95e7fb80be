"""Conversion of object IDs to the type of a table's ID column."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from flight_server.protocol.errors import BadValue

__all__ = ["typed_ids"]

LARGEST = 2**63 - 1


def typed_ids(ids: Sequence[str | int], kind: pa.DataType | None, prefix: str = "") -> Sequence[str | int]:
    """Return IDs in the type of a table's ID column.

    Parameters
    ----------
    ids
        The IDs as in a ticket.
    kind
        The type of the column.
    prefix
        How IDs begin in texts of the survey, such as `LSST-AP-DO-`; numbers may have it in front.

    Raises
    ------
    BadValue
        An ID is of another type or kind; names it.

    Examples
    --------
    >>> typed_ids(("170028500000000000", "LSST-AP-DO-7"), pa.int64(), "LSST-AP-DO-")
    [170028500000000000, 7]
    """
    if kind is not None and pa.types.is_integer(kind):
        return [_integer(value, prefix) for value in ids]
    if set(map(type, ids)) <= {str}:
        return ids
    value = next(value for value in ids if isinstance(value, int))
    raise BadValue(f"the IDs of this table are strings, not {value}", field="ids", value=value)


def _integer(value: str | int, prefix: str) -> int:
    if isinstance(value, int):
        return value
    digits = value.strip()
    if prefix:
        digits = digits.removeprefix(prefix)
    if not re.fullmatch(r"\d{1,19}", digits, re.ASCII) or int(digits) > LARGEST:
        forms = f"integers, or {prefix} and one," if prefix else "integers,"
        raise BadValue(f"the IDs of this table are {forms} not {value!r:.60}", field="ids", value=value)
    return int(digits)
