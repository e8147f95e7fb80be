"""Cells of a column whose type has widened: what tells the older ones from those that ingest writes.

An ingest that widens a column leaves the cells that are there. They are told by their length, or where that is equal by
their bytes. Long integers below 2**51 have the bytes of subnormal floating-point numbers or of NaN, and the text `true`
those of one integer. So ingest widens no column with larger integers to floating-point numbers, and writes none of these
few values; the gateway (Casting.java) applies the same rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.protocol.errors import BadValue

__all__ = ["distinct_cells", "large_integers"]

LARGE = 2**51  # longs from here on may have the bytes of a floating-point number
TRUE = int.from_bytes(b"true")
SMALLEST = np.finfo(np.float64).smallest_normal
_FEW = ("boolean", "long")


def large_integers(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Return a mask of the int64 values, shape (n,), whose cells may be those of floating-point numbers.

    Examples
    --------
    >>> large_integers(pa.array([2**51 - 1, 2**51, -(2**51), None])).tolist()
    [False, True, True, False]
    """
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False)
    large: npt.NDArray[np.bool_] = (numbers >= LARGE) | (numbers <= -LARGE)
    return large


def distinct_cells(rows: pa.Table, stored: Mapping[str, Collection[str]]) -> pa.Table:
    """Return rows to write, with values whose cells differ from those of older types.

    Parameters
    ----------
    rows
        The rows; NaN gets its usual bytes.
    stored
        By column, the names of the types with which its cells were written.

    Raises
    ------
    BadValue
        A value has the bytes of another one of an older type; names column and row.
    """
    for place, field in enumerate(rows.schema):
        older = stored.get(field.name, ())
        if not any(kind in older for kind in _FEW):
            continue
        values = rows[field.name].combine_chunks()
        if field.type == pa.int32() and "boolean" in older:
            _refuse(field.name, values, pc.equal(values, TRUE), "true")
        elif field.type == pa.float64() and "long" in older:
            _refuse(field.name, values, pc.and_(pc.greater(values, 0.0), pc.less(values, SMALLEST)), "an integer")
            values = pc.if_else(pc.is_nan(values), pa.scalar(np.nan), values)
            rows = rows.set_column(place, field.name, values)
    return rows


def _refuse(column: str, values: pa.Array, wrong: pa.BooleanArray, other: str) -> None:
    mask = pc.fill_null(wrong, fill_value=False).to_numpy(zero_copy_only=False)
    if mask.any():
        row = int(np.argmax(mask))
        value = values[row].as_py()
        raise BadValue(
            f"column {column}, row {row}: HBase cannot tell {value!r} from {other}, which the column held before its type "
            f"widened: rename the column in the file, or change the value",
            field=column,
            value=value,
        )
