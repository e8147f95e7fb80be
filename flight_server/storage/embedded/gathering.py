"""Rows from many places of mapped segments, gathered into one batch.

Joining slices costs time for every slice and column. Columns of fixed width without nulls are therefore taken
straight out of the mapped files, all columns of one width at once, by where each value stands; what is left
(texts, booleans, columns with nulls) is joined from slices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.storage.embedded.segments import BATCH_ROWS, OpenBatch, Segment

__all__ = ["gather", "runs_of"]

Places = npt.NDArray[np.int64]
WIDTHS = {4: np.uint32, 8: np.uint64}


def runs_of(segments: Places, rows: Places) -> Places:
    """Give where runs of neighbouring rows of one batch begin, for n rows in the order wanted.

    >>> runs_of(np.zeros(4, int), np.array([998, 999, 1000, 5])).tolist()
    [0, 2, 3]
    """
    new = (np.diff(segments) != 0) | (np.diff(rows) != 1) | (rows[1:] % BATCH_ROWS == 0)
    return np.flatnonzero(np.concatenate(([True], new)))


def gather(
    opened: Sequence[tuple[Segment, dict[int, OpenBatch]]], segments: Places, rows: Places, schema: pa.Schema
) -> pa.RecordBatch:
    """Gather rows.

    Parameters
    ----------
    opened
        The segments, and of each the batches that are needed, as `schema` has them.
    segments, rows
        For each of the n rows wanted, in order, its segment and its place there.
    schema
        The columns.
    """
    fixed = _fixed_columns(opened, schema)
    taken = _take_fixed(opened, segments, rows, fixed, schema)
    left = [place for place in range(len(schema)) if place not in taken]
    if left:
        begins = runs_of(segments, rows)
        lengths = np.diff(np.append(begins, len(rows)))
        narrow: dict[tuple[int, int], pa.RecordBatch] = {}
        slices = []
        for segment, row, length in zip(segments[begins].tolist(), rows[begins].tolist(), lengths.tolist(), strict=True):
            number, first = divmod(row, BATCH_ROWS)
            if (segment, number) not in narrow:
                narrow[segment, number] = opened[segment][1][number].batch.select(left)
            slices.append(narrow[segment, number].slice(first, length))
        joined = pa.concat_batches(slices)
        taken |= dict(zip(left, joined.columns, strict=True))
    return pa.RecordBatch.from_arrays([taken[place] for place in range(len(schema))], schema=schema)


def _fixed_columns(opened: Sequence[tuple[Segment, dict[int, OpenBatch]]], schema: pa.Schema) -> dict[int, list[int]]:
    """Give the columns that can be taken from every batch needed, by width."""
    offsets = [batch.offsets(segment) for segment, batches in opened for batch in batches.values()]
    whole = np.logical_and.reduce([found >= 0 for found in offsets])
    fixed: dict[int, list[int]] = {}
    for place in np.flatnonzero(whole).tolist():
        fixed.setdefault(schema.field(place).type.bit_width // 8, []).append(place)
    return fixed


def _take_fixed(
    opened: Sequence[tuple[Segment, dict[int, OpenBatch]]],
    segments: Places,
    rows: Places,
    fixed: dict[int, list[int]],
    schema: pa.Schema,
) -> dict[int, pa.Array]:
    numbers, inside = np.divmod(rows, BATCH_ROWS)
    parts = []
    for index, (segment, batches) in enumerate(opened):
        here = np.flatnonzero(segments == index) if len(opened) > 1 else np.arange(len(rows))
        if len(here):
            known = np.array(sorted(batches))
            which = np.searchsorted(known, numbers[here])
            table = np.stack([batches[number].offsets(segment) for number in known.tolist()], axis=1)
            parts.append((here, segment, table, which))
    taken: dict[int, pa.Array] = {}
    for width, places in fixed.items():
        values = np.empty((len(places), len(rows)), dtype=WIDTHS[width])
        for here, segment, table, which in parts:
            at = np.take(table[places] // width, which, axis=1)
            at += inside[here]
            found = np.take(segment.words(width), at)
            if len(parts) == 1:
                values = found
            else:
                values[:, here] = found
        for place, column in zip(places, values, strict=True):
            taken[place] = pa.Array.from_buffers(schema.field(place).type, len(rows), [None, pa.py_buffer(column)])
    return taken
