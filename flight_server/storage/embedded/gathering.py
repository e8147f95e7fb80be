"""Rows from many places of mapped segments, gathered into one batch.

Joining slices costs time for every slice and column. Columns of fixed width without nulls are therefore taken
straight out of the mapped files, all columns of one width at once, by where each value stands; what is left
(texts, booleans, columns with nulls) is joined from slices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.storage.embedded.segments import BATCH_ROWS, OpenBatch, Projection, Segment

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
    opened: Sequence[tuple[Segment, Projection]],
    segments: Places,
    rows: Places,
    schema: pa.Schema,
    *,
    known: Mapping[int, pa.Array],
    open_batch: Callable[[int, int], OpenBatch],
) -> pa.RecordBatch:
    """Gather rows.

    Parameters
    ----------
    opened
        The segments, each with the projection that reads it as `schema`.
    segments, rows
        For each of the n rows wanted, in order, its segment (its place in `opened`) and its place there.
    schema
        The columns.
    known
        Columns that need not be read, by their places in the schema.
    open_batch
        Opens a segment's batch by number, for columns that cannot be taken from the file itself.
    """
    parts = _parts(opened, segments, rows, [place for place in range(len(schema)) if place not in known])
    taken = dict(known) | _take_fixed(parts, len(rows), schema)
    left = [place for place in range(len(schema)) if place not in taken]
    if left:
        begins = runs_of(segments, rows)
        lengths = np.diff(np.append(begins, len(rows)))
        narrow: dict[tuple[int, int], pa.RecordBatch] = {}
        slices = []
        for segment, row, length in zip(segments[begins].tolist(), rows[begins].tolist(), lengths.tolist(), strict=True):
            number, first = divmod(row, BATCH_ROWS)
            if (segment, number) not in narrow:
                narrow[segment, number] = open_batch(segment, number).batch.select(left)
            slices.append(narrow[segment, number].slice(first, length))
        joined = pa.concat_batches(slices)
        taken |= dict(zip(left, joined.columns, strict=True))
    return pa.RecordBatch.from_arrays([taken[place] for place in range(len(schema))], schema=schema)


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one segment: which of those wanted, and where their values stand.

    Parameters
    ----------
    here
        Their places among the rows wanted; None where these are all of them.
    segment
        The segment.
    offsets
        Where the values of each column begin in each of k batches, of shape (k, columns); see `Segment.offsets`.
    columns
        The places of these columns in the schema wanted.
    which, inside
        For each row its batch, from 0 to k - 1, and its place there.
    """

    here: Places | None
    segment: Segment
    offsets: Places
    columns: Places
    which: Places
    inside: Places


def _parts(
    opened: Sequence[tuple[Segment, Projection]], segments: Places, rows: Places, columns: Sequence[int]
) -> Sequence[_Part]:
    parts = []
    for index, (segment, projection) in enumerate(opened):
        here = np.flatnonzero(segments == index) if len(opened) > 1 else None
        mine = rows if here is None else rows[here]
        if not len(mine):
            continue
        numbers, inside = np.divmod(mine, BATCH_ROWS)
        first = int(numbers.min())
        used = np.bincount(numbers - first) > 0
        which = (np.cumsum(used) - 1)[numbers - first]
        wanted = np.array([projection.places[column] for column in columns], dtype=np.int64)
        offsets = segment.offsets((np.flatnonzero(used) + first).tolist(), wanted)
        parts.append(_Part(here, segment, offsets, np.array(columns, dtype=np.int64), which, inside))
    return parts


def _take_fixed(parts: Sequence[_Part], length: int, schema: pa.Schema) -> dict[int, pa.Array]:
    """Take the columns that can be taken from every batch needed, those of one width together."""
    columns = parts[0].columns
    whole = np.logical_and.reduce([(part.offsets >= 0).all(axis=0) for part in parts])
    fixed: dict[int, list[int]] = {}
    for place in np.flatnonzero(whole).tolist():
        fixed.setdefault(schema.field(int(columns[place])).type.bit_width // 8, []).append(place)
    taken: dict[int, pa.Array] = {}
    for width, places in fixed.items():
        values = np.empty((len(places), length), dtype=WIDTHS[width])
        for part in parts:
            at = np.take(part.offsets[:, places].T // width, part.which, axis=1)
            at += part.inside
            found = np.take(part.segment.words(width), at)
            if part.here is None:
                values = found
            else:
                values[:, part.here] = found
        for place, column in zip(columns[places].tolist(), values, strict=True):
            taken[place] = pa.Array.from_buffers(schema.field(place).type, length, [None, pa.py_buffer(column)])
    return taken
