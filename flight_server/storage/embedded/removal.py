"""Removal of rows: the segments that hold them are written again without them.

The rows are gone from every state, so also from answers as of an earlier time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.columns import Column, Projection
from flight_server.catalog.declarations import Table
from flight_server.storage.embedded.manifest import ManifestState, SegmentRecord
from flight_server.storage.embedded.segment_cache import SegmentCache
from flight_server.storage.embedded.segment_output import SegmentOutput
from flight_server.storage.embedded.segments import Segment
from flight_server.storage.embedded.snapshot import Snapshot
from flight_server.storage.scans import Scan

__all__ = ["Rewritten", "rewrite_without"]

CACHED_BATCHES = 4


@dataclass(slots=True)
class Rewritten:
    """The segments written again, the IDs of those that they replace, and the number of keys removed."""

    records: list[SegmentRecord] = field(default_factory=list)
    replaced: list[int] = field(default_factory=list)
    keys: int = 0


def rewrite_without(
    folder: Path,
    state: ManifestState,
    table: Table,
    segments: Sequence[Segment],
    *,
    keys: npt.NDArray[np.bytes_],
    number: int,
) -> Rewritten:
    """Write the segments of a table that hold any of these row keys again, without the rows.

    Parameters
    ----------
    folder, state
        The store.
    table, segments
        The table and all of its segments, oldest first.
    keys
        The row keys, ascending.
    number
        The ID of the first new segment.
    """
    found = Rewritten()
    known = np.zeros(len(keys), dtype=bool)  # whether an older segment has the key
    for segment in segments:
        held = segment.search(keys, "right") > segment.search(keys)
        if held.any():
            made = _without(folder, state, table, segment, keys=keys[held], number=number + len(found.records))
            # of the rows removed here some replaced a row of an older segment
            fewer = int(np.count_nonzero(held & known))
            if made:
                last = made[-1]
                made[-1] = replace(last, replaced=last.replaced + segment.record.replaced - fewer)
            found.records += [replace(record, whole_since=segment.record.whole_since) for record in made]
            found.replaced.append(segment.record.id)
        known |= held
    found.keys = int(np.count_nonzero(known))
    return found


def _without(
    folder: Path, state: ManifestState, table: Table, segment: Segment, *, keys: npt.NDArray[np.bytes_], number: int
) -> list[SegmentRecord]:
    columns = Projection(Column(name=own.name, type=own.type) for own in segment.schema)
    schema = pa.schema([pa.field(column.name, column.type) for column in columns])
    view = Snapshot(state, {table.name: [segment]}, SegmentCache(batches=CACHED_BATCHES))
    record = segment.record
    with SegmentOutput(folder, table, schema, key_width=record.key_width, number=number, age=record.age) as output:
        for some in view.scan(Scan(table=table, columns=columns)):
            kept = ~np.isin(some.keys, keys)
            batch = pa.RecordBatch.from_arrays(some.batch.columns, schema=schema)
            output.append(batch.filter(pa.array(kept)), some.keys[kept])
        return output.finish()
