"""Cells that meet under one row key.

The latest value of each column that is not null stands, as in HBase. Before that rows may give way to others of their
key with all their cells: where a table overwrites, and where points of a history meet an alert.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.declarations import Points, Table

__all__ = ["changed_cells", "drop_superseded", "key_array", "lost_cells", "merge_equal_keys", "merge_over"]

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


def drop_superseded(table: Table, rows: pa.Table, keys: npt.NDArray[K]) -> tuple[pa.Table, npt.NDArray[K]]:
    """Leave out the rows of each key that give way to another one of it; the cells of those that are left are merged.

    Parameters
    ----------
    table
        Says which rows give way: where rows overwrite each other, all but those with the largest values; points of a
        history where there is an alert, and to each other.
    rows, keys
        n rows sorted by key, and their keys, shape (n,).

    Examples
    --------
    >>> from flight_server.catalog.declarations import load_surveys
    >>> rows = pa.table({"i:jd": [2459063.9, 2459060.9], "i:candid": [2, 1], "i:drb": [None, 0.9]})
    >>> drop_superseded(load_surveys()["ztf"].tables["ztf.pixel128"], rows, np.array([b"a", b"a"]))[0].to_pylist()
    [{'i:jd': 2459063.9, 'i:candid': 2, 'i:drb': None}]
    """
    if table.on_equal_key == "overwrite":
        kept = _latest(rows, keys, table.latest)
    elif table.points is not None and table.points.lacks in rows.column_names:
        kept = _alerts_or_latest(rows, keys, table.points)
    else:
        return rows, keys
    return (rows, keys) if kept.all() else (rows.filter(pa.array(kept)), keys[kept])


def _alerts_or_latest(rows: pa.Table, keys: npt.NDArray[K], points: Points) -> npt.NDArray[np.bool_]:
    """Say which rows stand of alerts and points."""
    alert: npt.NDArray[np.bool_] = rows[points.lacks].is_valid().to_numpy()
    if alert.all():
        return alert
    group = _groups(keys)
    has_alert = np.zeros(group[-1] + 1, dtype=bool)
    has_alert[group[alert]] = True
    alone = np.flatnonzero(~has_alert[group])
    kept = alert.copy()
    kept[alone] = _latest(rows.take(pa.array(alone)), keys[alone], points.latest)
    return kept


def _latest(rows: pa.Table, keys: npt.NDArray[K], by: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Say which rows have the largest values of their key, the first column first; without any it is the last row."""
    kept = np.ones(len(keys), dtype=bool)
    if len(keys) == 0 or not (keys[1:] == keys[:-1]).any():
        return kept
    group = _groups(keys)
    if not by:
        return np.append(group[1:] != group[:-1], True)
    for name in by:
        values = _comparable(rows[name])
        largest = np.full(group[-1] + 1, values.min())
        np.maximum.at(largest, group[kept], values[kept])
        kept &= values == largest[group]
    return kept


def _groups(keys: npt.NDArray[K]) -> npt.NDArray[np.int64]:
    """Give for each of some sorted keys which of the distinct ones it is."""
    return np.concatenate(([0], np.cumsum(keys[1:] != keys[:-1])))


def _comparable(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Give numbers to compare, the least one for null."""
    if pa.types.is_string(column.type):
        return np.unique(column.fill_null("").to_numpy().astype(str), return_inverse=True)[1]
    if pa.types.is_integer(column.type):
        return np.asarray(column.cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy())
    numbers = column.cast(pa.float64()).fill_null(-np.inf).to_numpy()
    return np.where(np.isnan(numbers), -np.inf, numbers)


def merge_over(
    held: pa.Table, where: npt.NDArray[np.int64], rows: pa.Table, table: Table | None = None
) -> tuple[pa.Table, npt.NDArray[np.bool_]]:
    """Merge rows over those that are held under some of their keys.

    Parameters
    ----------
    held
        m rows as they stand.
    where
        For each of them the place in `rows` of the row with its key, shape (m,).
    rows
        n rows, one a key.
    table
        Their table, where some of them may give way; see `standing`.

    Returns
    -------
    rows and changed
        The n merged rows, and for each whether it differs from what is held; true where nothing is.
    """
    held = held.cast(rows.schema)
    places = np.concatenate([where, np.arange(len(rows))])
    order = np.argsort(places, kind="stable")
    both = pa.concat_tables([held, rows]).combine_chunks().take(pa.array(order))
    ordered = places[order]
    if table is not None:
        both, ordered = drop_superseded(table, both, ordered)
    merged, _ = merge_equal_keys(both, ordered)
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


def lost_cells(merged: pa.Table, held: pa.Table, where: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Say which merged rows lack a cell that is held under their key; see `changed_cells`.

    Examples
    --------
    >>> held, rows = pa.table({"d:a": [1, 2], "d:b": [None, 3]}), pa.table({"d:a": [1, None], "d:b": [4, 3]})
    >>> lost_cells(rows, held, np.array([0, 1])).tolist()
    [False, True]
    """
    lost = np.zeros(len(merged), dtype=bool)
    for new, old in zip(merged.columns, held.select(merged.column_names).columns, strict=True):
        lost[where] |= new.is_null().to_numpy()[where] & old.is_valid().to_numpy()
    return lost


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
