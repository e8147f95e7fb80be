"""The nested layout: one row per object, with its light curve as a list of structs; cells are not copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.planning.shape import LIGHT_CURVE
from flight_server.storage.scans import Rows

__all__ = ["nest", "points_of"]

ENOUGH_BYTES = 786_432  # of rows that are nested together


def nest(rows: Iterator[Rows], schema: pa.Schema, ids: Sequence[str | int] | None) -> Iterator[Rows]:
    """Nest rows by object; the rows of an object are consecutive. The key of a nested row is that of the object's last row.

    Parameters
    ----------
    rows
        The rows with all columns of `schema`; the ID column is needed only if `ids` is None.
    schema
        The schema of the answer; see `nested_schema`.
    ids
        The objects that `Rows.request_index` refers to, possibly more from time to time; None if rows are not selected by
        object.
    """
    held: list[Rows] = []
    size, enough = 0, 0  # the first light curves are sent at once
    for some in rows:
        if held and size >= enough:
            ends = _ends(some, schema, ids)
            if not _belongs(held[-1], some, schema, ids):
                yield _fold(Rows.concat(held), schema, ids)
                held, size, enough = [], 0, ENOUGH_BYTES
            elif len(ends) > 1:
                begun = int(ends[0])
                yield _fold(Rows.concat([*held, some.slice(0, begun)]), schema, ids)
                some = some.slice(begun, len(some.batch) - begun)  # noqa: PLW2901
                held, size, enough = [], 0, ENOUGH_BYTES
        held.append(some)
        size += some.batch.nbytes
    if held:
        yield _fold(Rows.concat(held), schema, ids)


def points_of(batch: pa.RecordBatch) -> int:
    """Return the number of rows within the light curves of a nested batch."""
    return int(pc.sum(pc.list_value_length(batch[LIGHT_CURVE])).as_py() or 0)


def _fold(rows: Rows, schema: pa.Schema, known: Sequence[str | int] | None) -> Rows:
    ends = _ends(rows, schema, known)
    curve = schema.field(1).type
    batch = rows.batch
    points = pa.StructArray.from_arrays([batch[field.name] for field in curve.value_type], fields=list(curve.value_type))
    offsets = pa.array(np.concatenate(([0], ends)), pa.int32())
    index = rows.request_index[ends - 1]
    id_ = schema.field(0)
    if known is None:
        names = batch[id_.name].take(pa.array(ends - 1))
    else:
        names = pa.array([known[place] for place in index.tolist()], id_.type)
    curves = pa.ListArray.from_arrays(offsets, points, type=curve)
    return Rows(pa.RecordBatch.from_arrays([names, curves], schema=schema), index, rows.keys[ends - 1])


def _ends(rows: Rows, schema: pa.Schema, known: Sequence[str | int] | None) -> npt.NDArray[np.int64]:
    """Return the end of each object's rows."""
    if known is not None:
        changes = rows.request_index[1:] != rows.request_index[:-1]
    else:
        ids = rows.batch[schema.field(0).name]
        changes = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    return np.append(np.flatnonzero(changes) + 1, len(rows.batch)).astype(np.int64)


def _belongs(before: Rows, rows: Rows, schema: pa.Schema, known: Sequence[str | int] | None) -> bool:
    """Return whether the first row has the same object as the last row before it."""
    if known is not None:
        return bool(before.request_index[-1] == rows.request_index[0])
    name = schema.field(0).name
    return bool(before.batch[name][len(before.batch) - 1].as_py() == rows.batch[name][0].as_py())
