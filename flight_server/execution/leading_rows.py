"""Scans of names that begin with a text: the rows of exactly that name come first, the others in the order of their keys.

In key order the exact name can come last: the keys of `84670` sort before those of `8467`, which end the name with `@`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.columns import Projection
from flight_server.execution.reader import PlanReader
from flight_server.planning.cursors import lost_place
from flight_server.planning.row_selection import Leading
from flight_server.storage.row_keys import span_prefix
from flight_server.storage.scans import Rows, Span

__all__ = ["leading_first"]


def leading_first(reader: PlanReader, spans: tuple[Span, ...], leading: Leading, columns: Projection) -> Iterator[Rows]:
    """Read the rows of spans after the plan's cursor, those of `leading` first.

    Raises
    ------
    CursorMismatch
        The row of the cursor is no longer there.
    """
    table, after = reader.plan.table, reader.plan.after
    prefix = span_prefix(table, leading.span)
    key = None if after is None else after.key
    if prefix is not None:
        begun = key is None or _is_leading(reader, columns, key, leading, prefix)
        if begun:
            for some in reader.scan(table, columns, spans=(leading.span,), after=key):
                mask = _leads(some, leading, prefix)
                if mask.any():
                    yield some if mask.all() else some.filter(mask)
            key = None
    for some in reader.scan(table, columns, spans=spans, after=key):
        mask = _follows(some, leading)
        if prefix is not None:
            mask &= ~_leads(some, leading, prefix)
        if mask.any():
            yield some if mask.all() else some.filter(mask)


def _is_leading(reader: PlanReader, columns: Projection, key: bytes, leading: Leading, prefix: bytes) -> bool:
    """Return whether the row of a cursor is one of exactly the name."""
    if not key.startswith(prefix) or leading.column is None:
        return key.startswith(prefix)
    column = Projection([columns.by_name[leading.column]])
    for some in reader.scan(reader.plan.table, column, keys=np.array([key])):
        return bool(_leads(some, leading, prefix)[0])
    raise lost_place()


def _leads(rows: Rows, leading: Leading, prefix: bytes) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows of exactly the name."""
    mask: npt.NDArray[np.bool_] = np.char.startswith(rows.keys, prefix)
    if leading.column is not None and mask.any():
        mask &= _flags(pc.equal(_names(rows, leading.column, leading), leading.value))
    return mask


def _follows(rows: Rows, leading: Leading) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows whose names begin so; keys can, where a name ends, if the text has their separator."""
    if leading.column is None:
        return np.ones(len(rows), bool)
    return _flags(pc.starts_with(_names(rows, leading.column, leading), leading.value))


def _names(rows: Rows, column: str, leading: Leading) -> pa.Array:
    return pc.utf8_lower(rows.batch[column]) if leading.lower else rows.batch[column]


def _flags(values: pa.Array) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = pc.fill_null(values, fill_value=False).to_numpy(zero_copy_only=False)
    return found
