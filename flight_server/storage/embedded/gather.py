"""Gathering of rows from many positions of mapped segments into one batch.

Concatenating slices takes time for every slice and column. Columns of fixed width without nulls are therefore copied
directly from the mapped files, run by run, by the offset of each run; the others (strings, booleans, columns with nulls)
are concatenated from slices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.storage.embedded.segment_cache import OpenBatch
from flight_server.storage.embedded.segments import BATCH_ROWS, Segment, SegmentProjection

__all__ = ["gather", "runs_of"]

Places = npt.NDArray[np.int64]
WIDTHS = {4: pa.uint32(), 8: pa.uint64()}


def runs_of(segments: Places, rows: Places) -> Places:
    """Return the starts of runs of adjacent rows of one batch, for n rows in the requested order.

    >>> runs_of(np.zeros(4, int), np.array([998, 999, 1000, 5])).tolist()
    [0, 2, 3]
    """
    new = (np.diff(segments) != 0) | (np.diff(rows) != 1) | (rows[1:] % BATCH_ROWS == 0)
    return np.flatnonzero(np.concatenate(([True], new)))


def gather(
    opened: Sequence[tuple[Segment, SegmentProjection]],
    segments: Places,
    rows: Places,
    schema: pa.Schema,
    *,
    known: Mapping[int, pa.Array],
    open_batch: Callable[[int, int], OpenBatch],
) -> pa.RecordBatch:
    """Gather rows into one batch.

    Parameters
    ----------
    opened
        The segments, each with the projection that reads it as `schema`.
    segments, rows
        For each of the n rows, in order, its segment (index in `opened`) and its row number there.
    schema
        The columns.
    known
        Columns that need not be read, by their position in the schema.
    open_batch
        Opens a batch of a segment by number, for columns that cannot be copied from the file.
    """
    begins = runs_of(segments, rows)
    runs = _Runs(segments[begins], rows[begins], np.diff(np.append(begins, len(rows))))
    columns = [place for place in range(len(schema)) if place not in known]
    taken = dict(known) | _take_fixed(opened, runs, schema, columns)
    left = [place for place in columns if place not in taken]
    if left:
        narrow: dict[tuple[int, int], pa.RecordBatch] = {}
        slices = []
        for segment, row, length in zip(*(part.tolist() for part in (runs.segments, runs.starts, runs.lengths)), strict=True):
            number, first = divmod(row, BATCH_ROWS)
            if (segment, number) not in narrow:
                narrow[segment, number] = open_batch(segment, number).batch.select(left)
            slices.append(narrow[segment, number].slice(first, length))
        joined = pa.concat_batches(slices)
        taken |= dict(zip(left, joined.columns, strict=True))
    return pa.RecordBatch.from_arrays([taken[place] for place in range(len(schema))], schema=schema)


@dataclass(frozen=True, slots=True)
class _Runs:
    """Runs of adjacent rows of one batch: segment, first row and number of rows."""

    segments: Places
    starts: Places
    lengths: Places


def _take_fixed(
    opened: Sequence[tuple[Segment, SegmentProjection]], runs: _Runs, schema: pa.Schema, columns: Sequence[int]
) -> dict[int, pa.Array]:
    """Copy the columns of fixed width without nulls in any needed batch directly from the files."""
    where = np.full((len(runs.starts), len(columns)), -1, dtype=np.int64)
    for index, (segment, projection) in enumerate(opened):
        here = np.flatnonzero(runs.segments == index)
        if len(here):
            numbers = runs.starts[here] // BATCH_ROWS
            used, which = np.unique(numbers, return_inverse=True)
            wanted = np.array([projection.direct[column] for column in columns], dtype=np.int64)
            offsets = segment.offsets(used.tolist(), wanted)
            where[here] = np.where(offsets >= 0, offsets + segment.address, -1)[which]
    # one view of memory spans all files from the first to the last; the gaps between them are never accessed
    base = min(segment.address for segment, _ in opened)
    end = max(segment.address + segment.size for segment, _ in opened)
    memory = pa.foreign_buffer(base, end - base, [segment for segment, _ in opened])
    inside, lengths = runs.starts % BATCH_ROWS, pa.array(runs.lengths)
    length = int(runs.lengths.sum())
    taken: dict[int, pa.Array] = {}
    for place in np.flatnonzero((where >= 0).all(axis=0)).tolist():
        kind = schema.field(columns[place]).type
        width = kind.bit_width // 8
        words = pa.Array.from_buffers(WIDTHS[width], (end - base) // width, [None, memory])
        starts = pa.array((where[:, place] - base) // width + inside)
        values = pa.LargeListViewArray.from_arrays(starts, lengths, words).flatten()
        taken[columns[place]] = pa.Array.from_buffers(kind, length, [None, values.buffers()[1]], offset=values.offset)
    return taken
