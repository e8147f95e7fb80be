"""The state of a table at a given time: the segments and rows written until then."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flight_server.protocol.errors import BadValue
from flight_server.storage.embedded.segments import BATCH_ROWS, WRITTEN, Segment

__all__ = ["newest_replacement", "segments_until", "written_at"]


def segments_until(segments: Sequence[Segment], as_of: int) -> list[Segment]:
    """Return the segments of a table that may have rows written until `as_of`.

    Raises
    ------
    BadValue
        Compaction has dropped versions of rows that were current then.
    """
    oldest = max((segment.record.whole_since for segment in segments), default=0)
    if as_of < oldest:
        table = segments[0].record.table_name
        message = f"compaction has dropped rows that {table} held at {as_of}: the oldest as_of that can be read is {oldest}"
        raise BadValue(message, field="as_of", value=as_of)
    return [segment for segment in segments if segment.record.written <= as_of or segment.record.compacted]


def written_at(segment: Segment, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return when rows were written, ms since 1970."""
    written = np.full(len(rows), segment.record.written)
    if segment.record.compacted:  # else all rows are from one ingest
        numbers, inside = np.divmod(rows, BATCH_ROWS)
        for number in np.unique(numbers).tolist():
            here = numbers == number
            written[here] = segment.batch(number)[WRITTEN].to_numpy()[inside[here]]
    return written


def newest_replacement(segments: Sequence[Segment]) -> int:
    """Return when the newest row was written that replaces a row of an older one of these segments; 0 if none does.

    Parameters
    ----------
    segments
        Segments of one table, oldest first. All rows of one were written before all rows of the next.
    """
    for place in range(len(segments) - 1, 0, -1):
        keys = segments[place].keys(0, segments[place].record.rows)
        hiding = np.zeros(len(keys), dtype=bool)
        for older in segments[:place]:
            hiding |= older.search(keys, "right") > older.search(keys)
        if hiding.any():
            return int(written_at(segments[place], np.flatnonzero(hiding)).max())
    return 0
