"""The bounds of columns: a value outside of them is refused, since a row that cannot be true spoils what is derived from it."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.columns import Column
from flight_server.protocol.errors import BadValue

__all__ = ["check_bounds"]


def check_bounds(columns: Mapping[str, pa.Array | pa.ChunkedArray], known: Mapping[str, Column]) -> None:
    """Check that the values of columns are within their bounds; null and NaN are.

    Parameters
    ----------
    columns
        The values by column.
    known
        The columns of the catalog.

    Raises
    ------
    BadValue
        A value is outside; the message names column, row and value.

    Examples
    --------
    >>> from flight_server.catalog.catalog import load_catalog
    >>> check_bounds({"i:jd": pa.array([2459000.5, -1e308])}, load_catalog().known["ztf"])
    Traceback (most recent call last):
        ...
    flight_server.protocol.errors.BadValue: column i:jd, row 1: -1e+308 is outside of 2447892.5 to 2488069.5
    """
    for name, values in columns.items():
        column = known.get(name)
        if column is None or column.bounds is None:
            continue
        low, high = column.bounds
        outside = pc.or_(pc.less(values, low), pc.greater(values, high))
        row = pc.index(pc.fill_null(outside, fill_value=False), value=True).as_py()
        if row >= 0:
            value = values[row].as_py()
            raise BadValue(f"column {name}, row {row}: {value} is outside of {low} to {high}", field=name, value=value)
