"""Compaction: adjacent segments of similar size are merged, superseded rows and unused blocks are removed.

Segments are merged only with their neighbours in age, so that the newest row of a key stays the newest. Readers keep
using the files that they have mapped; files are deleted after the manifest has dropped them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Column, Projection
from flight_server.catalog.declarations import Table
from flight_server.storage.embedded.manifest import Manifest, ManifestState, SegmentRecord
from flight_server.storage.embedded.segment_cache import SegmentCache
from flight_server.storage.embedded.segment_output import SEGMENT_BYTES, SegmentOutput
from flight_server.storage.embedded.segments import Segment
from flight_server.storage.embedded.snapshot import Snapshot
from flight_server.storage.embedded.versions import newest_replacement
from flight_server.storage.embedded.writer import next_number, remove_leftovers
from flight_server.storage.injection import injection_point
from flight_server.storage.scans import Scan

__all__ = ["CompactionReport", "choose", "compact"]

ALIKE = 3  # an older segment is merged if it is at most this many times as large as all newer ones together
KEPT_MS = 900_000  # how long a block without rows is kept for running answers
FEWEST = 4  # fewer segments than this are not merged


@dataclass(slots=True)
class CompactionReport:
    """The result of a compaction: segments before and after by table, and bytes freed."""

    segments: dict[str, tuple[int, int]] = field(default_factory=dict)
    blocks_unused: int = 0
    blocks_removed: int = 0
    bytes_before: int = 0
    bytes_after: int = 0


def choose(sizes: Sequence[int], *, full: bool) -> slice | None:
    """Choose adjacent segments to merge.

    Parameters
    ----------
    sizes
        Bytes of the segments, oldest first.
    full
        Whether to merge all, regardless of size.

    Examples
    --------
    >>> choose([1000, 10, 12, 9, 11], full=False)
    slice(1, 5, None)
    >>> choose([1000, 10, 12], full=False) is None
    True
    """
    last = len(sizes)
    while last > 0:
        first, total = last, 0
        while first > 0 and sizes[first - 1] < SEGMENT_BYTES // 2:
            if not full and sizes[first - 1] > ALIKE * max(total, sizes[last - 1]):
                break
            first -= 1
            total += sizes[first]
        if last - first >= (2 if full else FEWEST):
            return slice(first, last)
        # newer segments stay as they are: look at older ones
        last = first if first < last else last - 1
    return None


def compact(
    folder: Path,
    manifest: Manifest,
    catalog: Catalog,
    *,
    full: bool,
    progress: Callable[[str, int], None] = lambda *_: None,
) -> CompactionReport:
    """Compact every table; the caller holds the lock of the store.

    Parameters
    ----------
    folder, manifest, catalog
        The store.
    full
        Whether to merge all segments below half the largest size, not only those of similar size.
    progress
        Called with the name of a table and the number of rows merged since the last call.
    """
    report = CompactionReport()
    state = manifest.read()  # no other process writes to it now
    remove_leftovers(folder, state)
    report.bytes_before = _bytes(state)
    for name, table in catalog.tables.items():
        records = [record for record in state.segments if record.table_name == name]
        chosen = choose([record.data_bytes for record in records], full=full)
        after = len(records)
        if chosen is not None:
            injection_point("compact.before")
            _merge(folder, manifest, state, table, records[chosen], progress=progress)
            state = manifest.read()
            after = sum(record.table_name == name for record in state.segments)
        report.segments[name] = (len(records), after)
    injection_point("compact.committed")
    report.blocks_unused, report.blocks_removed = _drop_unused_blocks(folder, manifest, state, catalog)
    injection_point("compact.removing")
    state = manifest.read()
    remove_leftovers(folder, state)
    report.bytes_after = _bytes(state)
    return report


def _merge(
    folder: Path,
    manifest: Manifest,
    state: ManifestState,
    table: Table,
    records: Sequence[SegmentRecord],
    *,
    progress: Callable[[str, int], None],
) -> None:
    """Merge segments into one, or into several if they are large."""
    segments = [_open(folder, record) for record in records]
    view = Snapshot(state, {table.name: segments}, SegmentCache(batches=2 * len(segments)))
    # a segment may be older than the present type of a column
    types = {column.name: column.type for segment in segments for column in segment.schema}
    types |= {name: kind for name, kind in view.columns.get(table.name, {}).items() if name in types}
    columns = Projection(Column(name=name, type=kind) for name, kind in types.items())
    schema = pa.schema([pa.field(column.name, column.type) for column in columns])
    width = max(record.key_width for record in records)
    rows = 0
    with SegmentOutput(
        folder, table, schema, key_width=width, number=next_number(state), age=max(record.age for record in records)
    ) as output:
        for some in view.scan(Scan(table=table, columns=columns)):
            batch = pa.RecordBatch.from_arrays(some.batch.columns, schema=schema)
            output.append(batch, some.keys)
            rows += len(batch)
            progress(table.name, len(batch))
        dropped = sum(record.rows for record in records) - rows
        # a row that replaced another one of these segments replaces none now, unless an older segment has its key
        output.add_replaced(sum(record.replaced for record in records) - dropped)
        made = output.finish()
    # states before the newest replacing row was written are lost
    whole_since = max(record.whole_since for record in records)
    if dropped:
        whole_since = max(whole_since, newest_replacement(segments))
    manifest.commit(
        [replace(record, whole_since=whole_since) for record in made], remove_segments=[record.id for record in records]
    )


def _drop_unused_blocks(folder: Path, manifest: Manifest, state: ManifestState, catalog: Catalog) -> tuple[int, int]:
    """Mark blocks that no row names, drop those marked long enough ago; return the number of each."""
    used: set[str] = set()
    for name, table in catalog.tables.items():
        if table.rows == "stamps":
            path = catalog.known[table.survey][str(table.path)]
            # segment by segment: a replaced row is still read where `as_of` is before its replacement
            for record in (record for record in state.segments if record.table_name == name):
                view = Snapshot(state, {name: [_open(folder, record)]}, SegmentCache(batches=8))
                for some in view.scan(Scan(table=table, columns=Projection([path]))):
                    used.update(pc.unique(some.batch[0]).to_pylist())
    now = time.time_ns() // 1_000_000
    gone = [record.name for record in state.blocks if record.name not in used and 0 < record.dropped <= now - KEPT_MS]
    marked = [replace(record, dropped=now) for record in state.blocks if record.name not in used and not record.dropped]
    again = [replace(record, dropped=0) for record in state.blocks if record.name in used and record.dropped]
    if gone or marked or again:
        manifest.commit(marked + again, remove_blocks=[*gone, *(record.name for record in marked + again)])
    return len(marked), len(gone)


def _open(folder: Path, record: SegmentRecord) -> Segment:
    return Segment(folder / "segments" / record.table_name / record.name, record)


def _bytes(state: ManifestState) -> int:
    rows = sum(record.data_bytes + record.rows * record.key_width for record in state.segments)
    return rows + sum(record.bytes for record in state.blocks)
