"""Rows with cutouts, folded into the layout `nested`, with the cutouts of one point per object as further columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["STAMPS", "fold", "stamp_arrays", "stamp_column"]

STAMPS = ("last", "first")


def fold(batches: Iterable[pa.RecordBatch], object_id: str, kinds: Sequence[str], which: str) -> pa.RecordBatch | None:
    """Fold rows, consecutive for each object, into one row per object; None if there are none.

    Parameters
    ----------
    batches
        The rows, with cutouts as arrays; of each batch only the cutouts that may be chosen are kept.
    object_id
        The ID column.
    kinds
        The kinds of cutouts, whose columns come after the light curves, in this order.
    which
        Whether an object has the cutouts of the `first` or of the `last` of its points that have any.

    Returns
    -------
    folded
        The ID, `lightcurve`, and for each kind a column of cutouts, null where there is none.
    """
    curves: list[pa.RecordBatch] = []
    stamps: list[pa.RecordBatch] = []
    for batch in batches:
        names = {kind: stamp_column(batch.schema, kind) for kind in kinds}
        curves.append(batch.select([name for name in batch.schema.names if not name.startswith("b:cutout")]))
        cells = [batch[object_id], *(_storage(batch[name]) for name in names.values())]
        held = pa.record_batch(cells, names=[object_id, *kinds])
        there = np.logical_or.reduce([cell.is_valid().to_numpy(zero_copy_only=False) for cell in cells[1:]])
        stamps.append(_chosen(held.take(pa.array(np.flatnonzero(there))), object_id, which))
    if not curves:
        return None
    rows = pa.concat_batches(curves)
    points = rows.select([name for name in rows.schema.names if name != object_id])
    ends = _ends(rows[object_id])
    offsets = pa.array(np.concatenate(([0], ends)), pa.int32())
    struct = pa.StructArray.from_arrays(points.columns, fields=list(points.schema))
    ids = rows[object_id].take(pa.array(ends - 1))
    # an object in several batches has one choice of each
    found = _chosen(pa.concat_batches(stamps), object_id, which)
    place = pc.index_in(ids, found[object_id])
    columns = [ids, pa.ListArray.from_arrays(offsets, struct), *(found[kind].take(place) for kind in kinds)]
    return pa.record_batch(columns, names=[object_id, "lightcurve", *kinds])


def stamp_arrays(
    batch: pa.RecordBatch, kinds: Sequence[str], shape: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the cutouts of folded rows, (objects, kinds, rows, columns), zero where missing; and a mask of those present."""
    pixels = np.zeros((len(batch), len(kinds), *shape), np.float32)
    there = np.zeros((len(batch), len(kinds)), np.bool_)
    for number, kind in enumerate(kinds):
        there[:, number] = batch[kind].is_valid().to_numpy(zero_copy_only=False)
        pixels[there[:, number], number] = np.asarray(batch[kind].flatten()).reshape(-1, *shape)  # flatten() leaves out nulls
    return pixels, there


def stamp_column(schema: pa.Schema, kind: str) -> str:
    """Return the name of the column of a kind of cutout."""
    return str(next(name for name in schema.names if name.startswith(f"b:cutout{kind}_stamp")))


def _storage(cells: Any) -> pa.FixedSizeListArray:
    return cells.storage if isinstance(cells, pa.ExtensionArray) else cells


def _chosen(rows: pa.RecordBatch, object_id: str, which: str) -> pa.RecordBatch:
    """Return the first or last row of each object."""
    if not len(rows):
        return rows
    ends = _ends(rows[object_id])
    return rows.take(pa.array(ends - 1 if which == "last" else np.concatenate(([0], ends[:-1]))))


def _ends(ids: pa.Array) -> npt.NDArray[np.int64]:
    changes = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    return np.append(np.flatnonzero(changes) + 1, len(ids)).astype(np.int64)
