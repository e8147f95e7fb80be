"""Cells that meet under one row key: the latest value that is not null stands, as in HBase."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["changed_cells", "key_array", "merge_equal_keys", "merge_over"]

K = TypeVar("K", np.bytes_, np.int64)


def key_array(keys: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    """Give row keys, none of them null or empty, as bytes of one width, shape (n,).

    >>> key_array(pa.array(["b_1", "a_10"]))
    array([b'b_1', b'a_10'], dtype='|S4')
    """
    flat = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
    width = pc.max(pc.binary_length(flat)).as_py() or 1
    padded = pc.ascii_rpad(flat.cast(pa.string()), width=width, padding="\0")
    return np.frombuffer(padded.buffers()[2] or b"", dtype=f"S{width}", count=len(padded), offset=padded.offset * width)


def merge_equal_keys(rows: pa.Table, keys: npt.NDArray[K]) -> tuple[pa.Table, npt.NDArray[K]]:
    """Merge the cells of rows with equal keys.

    Parameters
    ----------
    rows
        n rows, sorted by key and, within a key, from the earliest to the latest version.
    keys
        Their row keys, shape (n,).

    Returns
    -------
    rows and keys
        One row a key: in each column the last value that is not null.

    Examples
    --------
    >>> rows = pa.table({"d:tns": ["SN Ia", None, "SN II"], "d:roid": [0, 3, None]})
    >>> merge_equal_keys(rows, np.array([b"a_1", b"a_1", b"b_1"]))[0].to_pylist()
    [{'d:tns': 'SN Ia', 'd:roid': 3}, {'d:tns': 'SN II', 'd:roid': None}]
    """
    if len(keys) == 0:
        return rows, keys
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    if len(starts) == len(keys):
        return rows, keys
    positions = np.arange(len(keys))
    columns = []
    for column in rows.columns:
        valid = column.is_valid().to_numpy()
        latest = np.maximum.reduceat(np.where(valid, positions, -1), starts)
        columns.append(column.take(pa.array(latest, mask=latest < 0)))
    return pa.Table.from_arrays(columns, schema=rows.schema), keys[starts]


def merge_over(held: pa.Table, where: npt.NDArray[np.int64], rows: pa.Table) -> tuple[pa.Table, npt.NDArray[np.bool_]]:
    """Merge rows over those that are held under some of their keys.

    Parameters
    ----------
    held
        m rows as they stand.
    where
        For each of them the place in `rows` of the row with its key, shape (m,).
    rows
        n rows, one a key.

    Returns
    -------
    rows and changed
        The n merged rows, and for each whether it differs from what is held; true where nothing is.
    """
    held = held.cast(rows.schema)
    places = np.concatenate([where, np.arange(len(rows))])
    order = np.argsort(places, kind="stable")
    both = pa.concat_tables([held, rows]).combine_chunks().take(pa.array(order))
    merged, _ = merge_equal_keys(both, places[order])
    changed = np.ones(len(rows), dtype=bool)
    changed[where] = _differ(merged.take(pa.array(where)), held)
    return merged, changed


def changed_cells(merged: pa.Table, held: pa.Table, where: npt.NDArray[np.int64]) -> pa.Table:
    """Leave out of merged rows the cells that are held as they are.

    Parameters
    ----------
    merged
        n rows, as `merge_over` gives them.
    held, where
        m rows as they stand, and the place of each in `merged`.
    """
    position = np.full(len(merged), -1)
    position[where] = np.arange(len(where))
    before = held.cast(merged.schema).take(pa.array(position, mask=position < 0))
    columns = []
    for new, old in zip(merged.columns, before.columns, strict=True):
        kept = pa.array(_cells_differ(new, old) | (position < 0))
        columns.append(pc.if_else(kept, new, pa.scalar(None, new.type)))
    return pa.Table.from_arrays(columns, schema=merged.schema)


def _differ(rows: pa.Table, held: pa.Table) -> npt.NDArray[np.bool_]:
    """Say which rows differ in any cell."""
    changed = np.zeros(len(rows), dtype=bool)
    for new, old in zip(rows.columns, held.columns, strict=True):
        changed |= _cells_differ(new, old)
    return changed


def _cells_differ(new: pa.ChunkedArray, old: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Say which cells differ; two NaN are equal here, and so are two nulls."""
    null, was_null = new.is_null().to_numpy(), old.is_null().to_numpy()
    if pa.types.is_floating(new.type):
        a, b = (column.fill_null(0).to_numpy() for column in (new, old))
        differs = (a.view(f"u{a.itemsize}") != b.view(f"u{b.itemsize}")) & ~(np.isnan(a) & np.isnan(b))
    else:
        differs = pc.fill_null(pc.not_equal(new, old), fill_value=False).to_numpy()
    found: npt.NDArray[np.bool_] = (null != was_null) | (differs & ~null & ~was_null)
    return found
