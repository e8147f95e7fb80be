"""Merging of rows with the same row key.

In each column the latest value that is not missing is kept, as in HBase that which is not null. Before that, whole rows may
be superseded by others of the same key: in tables that overwrite, where points of a history share a key with an alert or with
each other, and where a key has rows of several alerts. So no row has cells of two alerts or of two points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.declarations import Points, Table
from flight_server.catalog.missing import missing_as_null

__all__ = ["changed_cells", "drop_superseded", "key_array", "lost_cells", "merge_equal_keys", "merge_over"]

K = TypeVar("K", np.bytes_, np.int64)


def key_array(keys: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    """Return row keys, none of them null or empty, as bytes of one width, shape (n,).

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
        One row per key: in each column the last value that is neither null nor NaN, else NaN, if there is one.

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
        latest = _latest_of(column.is_valid(), positions, starts)
        if pa.types.is_floating(column.type):  # NaN is kept where there is no value
            values = _latest_of(missing_as_null(column).is_valid(), positions, starts)
            latest = np.where(values < 0, latest, values)
        columns.append(column.take(pa.array(latest, mask=latest < 0)))
    return pa.Table.from_arrays(columns, schema=rows.schema), keys[starts]


def _latest_of(kept: pa.ChunkedArray, positions: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the last position of each key that is kept, -1 if there is none."""
    found: npt.NDArray[np.int64] = np.maximum.reduceat(np.where(kept.to_numpy(), positions, -1), starts)
    return found


def drop_superseded(table: Table, rows: pa.Table, keys: npt.NDArray[K]) -> tuple[pa.Table, npt.NDArray[K]]:
    """Drop the rows that another row of the same key supersedes, and merge the cells of the others.

    Parameters
    ----------
    table
        Declares which rows are superseded: where it names the columns that decide, all but those with the largest values;
        points of a history, by alerts and by later points; and rows of other alerts than the last one.
    rows, keys
        n rows sorted by key, and their keys, shape (n,).

    Examples
    --------
    >>> from flight_server.catalog.declarations import load_surveys
    >>> rows = pa.table({"i:jd": [2459063.9, 2459060.9], "i:candid": [2, 1], "i:drb": [None, 0.9]})
    >>> drop_superseded(load_surveys()["ztf"].tables["ztf.pixel128"], rows, np.array([b"a", b"a"]))[0].to_pylist()
    [{'i:jd': 2459063.9, 'i:candid': 2, 'i:drb': None}]
    """
    if table.on_equal_key == "overwrite" or table.latest:
        return _filtered(rows, keys, _latest(rows, keys, table.latest))
    if table.points is not None:
        rows, keys = _filtered(rows, keys, _alerts_or_latest(rows, keys, table.points))
    if table.keeps_each_alert and table.alert_id in rows.column_names:
        rows, keys = _filtered(rows, keys, _of_last_alert(rows, keys, table.alert_id))
    return rows, keys


def _filtered(rows: pa.Table, keys: npt.NDArray[K], kept: npt.NDArray[np.bool_]) -> tuple[pa.Table, npt.NDArray[K]]:
    return (rows, keys) if kept.all() else (rows.filter(pa.array(kept)), keys[kept])


def _of_last_alert(rows: pa.Table, keys: npt.NDArray[K], column: str) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows that have the alert ID of the last row with their key, or no ID."""
    kept = np.ones(len(keys), dtype=bool)
    if len(keys) == 0 or not (keys[1:] == keys[:-1]).any():
        return kept
    group = _groups(keys)
    known = rows[column].is_valid().to_numpy()
    ids = _comparable(rows[column])
    last = np.full(group[-1] + 1, -1)
    last[group[known]] = np.flatnonzero(known)  # of equal indices the last assignment counts
    kept[known] = ids[known] == ids[last[group[known]]]
    return kept


def _alerts_or_latest(rows: pa.Table, keys: npt.NDArray[K], points: Points) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows to keep, of alerts and points."""
    lacks = rows[points.lacks] if points.lacks in rows.column_names else pa.chunked_array([pa.nulls(len(rows))])
    alert: npt.NDArray[np.bool_] = missing_as_null(lacks).is_valid().to_numpy()
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
    """Return a mask of the rows with the largest values per key, compared column by column; without columns, the last row."""
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
    """Return for each of the sorted keys the number of its distinct value."""
    return np.concatenate(([0], np.cumsum(keys[1:] != keys[:-1])))


def _comparable(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return comparable numbers, with null as the smallest."""
    if pa.types.is_string(column.type):
        return np.unique(column.fill_null("").to_numpy().astype(str), return_inverse=True)[1]
    if pa.types.is_integer(column.type):
        return np.asarray(column.cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy())
    numbers = column.cast(pa.float64()).fill_null(-np.inf).to_numpy()
    return np.where(np.isnan(numbers), -np.inf, numbers)


def merge_over(
    held: pa.Table, where: npt.NDArray[np.int64], rows: pa.Table, table: Table | None = None
) -> tuple[pa.Table, npt.NDArray[np.bool_]]:
    """Merge rows over stored rows with the same keys.

    Parameters
    ----------
    held
        m stored rows.
    where
        The index in `rows` of the row with the same key, for each stored row, shape (m,).
    rows
        n rows, one per key.
    table
        The table, if rows may be superseded; see `drop_superseded`.

    Returns
    -------
    rows and changed
        The n merged rows, and for each whether it differs from the stored row; true if there is none.
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
    """Replace the cells of merged rows that equal the stored ones by null.

    Parameters
    ----------
    merged
        n rows, as returned by `merge_over`.
    held, where
        m stored rows, and the index of each in `merged`.
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
    """Return a mask of merged rows that lack a stored cell of their key; see `changed_cells`.

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
    """Return a mask of rows that differ in any cell."""
    changed = np.zeros(len(rows), dtype=bool)
    for new, old in zip(rows.columns, held.columns, strict=True):
        changed |= _cells_differ(new, old)
    return changed


def _cells_differ(new: pa.ChunkedArray, old: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return a mask of cells that differ; NaN equals NaN, and null equals null."""
    null, was_null = new.is_null().to_numpy(), old.is_null().to_numpy()
    if pa.types.is_floating(new.type):
        a, b = (column.fill_null(0).to_numpy() for column in (new, old))
        differs = (a.view(f"u{a.itemsize}") != b.view(f"u{b.itemsize}")) & ~(np.isnan(a) & np.isnan(b))
    else:
        differs = pc.fill_null(pc.not_equal(new, old), fill_value=False).to_numpy()
    found: npt.NDArray[np.bool_] = (null != was_null) | (differs & ~null & ~was_null)
    return found
