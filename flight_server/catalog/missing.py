"""What counts as a missing value, for all rules: conditions of tables, derived columns, histories, statistics.

Null, NaN and a column that a file or a table does not have mean the same, and so do the texts that a survey writes for it,
which config/columns declares. pandas writes a missing number as NaN, and Arrow as null. Stored cells stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["missing_as_null"]


def missing_as_null(values: Any, texts: Sequence[str] = ()) -> Any:
    """Return values with null in place of all that counts as missing.

    Parameters
    ----------
    values
        An Arrow array of n values, chunked or not, of any type that is not nested.
    texts
        The texts that the survey writes for a missing value: `Column.missing`.

    Examples
    --------
    >>> missing_as_null(pa.array([1.5, float("nan"), None])).to_pylist()
    [1.5, None, None]
    >>> missing_as_null(pa.array(["SN Ia", "nan"]), ["", "nan"]).to_pylist()
    ['SN Ia', None]
    """
    if pa.types.is_floating(values.type):
        missing = pc.is_nan(values)
    elif texts and (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        missing = pc.is_in(values, pa.array(texts, values.type))
    else:
        return values
    return pc.if_else(missing, pa.scalar(None, values.type), values) if pc.any(missing).as_py() else values
