"""The embedded store as it is at one moment: segments, and scans over them.

A scan is planned as ranges of row keys. All ranges are looked up in all segments at once; groups of ranges
worth about `GROUP_BYTES` are then read together. Where one segment alone has a range's rows they leave as
slices of the mapped file; where several have, rows are sorted and the newest of each key stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalogue import TYPES
from flight_server.declarations import Table
from flight_server.errors import AlertflightError
from flight_server.storage.embedded.manifest import ManifestState
from flight_server.storage.embedded.segments import BATCH_ROWS, Segment, SegmentCache, pieces
from flight_server.storage.keys import MAX_KEY_BYTES, key_expression, prefix_ranges
from flight_server.storage.protocols import Rows, Scan, TableState, joined

__all__ = ["Snapshot"]

GROUP_BYTES = 1_310_720
FIRST_GROUP_BYTES = 131_072  # the first rows leave at once
ALONE_BYTES = 524_288  # a slice of this size is not worth copying to join it with others


@dataclass(frozen=True, slots=True)
class _Hits:
    """Where ranges were found: rows [low, high) of each segment, both of shape (segments, ranges)."""

    asked: npt.NDArray[np.int64]
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]


class Snapshot:
    """A `RowView` of one state of the manifest.

    Parameters
    ----------
    state
        What the manifest said.
    segments
        The open segments of each table, oldest first.
    cache
        Batches opened by this and other snapshots.
    faults
        Why tables cannot be read, by table, where one of their files is damaged.
    """

    def __init__(
        self,
        state: ManifestState,
        segments: Mapping[str, Sequence[Segment]],
        cache: SegmentCache,
        faults: Mapping[str, AlertflightError] | None = None,
    ) -> None:
        self._state = state
        self._segments = segments
        self._cache = cache
        self.faults = faults or {}
        self.as_of = max((record.written for record in state.ingests), default=0)
        columns: dict[str, dict[str, pa.DataType]] = {}
        for record in sorted(state.columns, key=lambda found: found.position):
            columns.setdefault(record.table_name, {})[record.name] = TYPES[record.type]
        self.columns: Mapping[str, Mapping[str, pa.DataType]] = columns

    def state(self, table: Table) -> TableState:
        """Say what the table holds."""
        records = [record for record in self._state.segments if record.table_name == table.name]
        if not records:
            return TableState()
        return TableState(
            rows=sum(record.rows - record.replaced for record in records),
            bytes=sum(record.data_bytes + record.rows * record.key_width for record in records),
            first=min((r.first_time for r in records if r.first_time is not None), default=None),
            last=max((r.last_time for r in records if r.last_time is not None), default=None),
            written=max(record.written for record in records),
        )

    def fault(self, table: Table) -> AlertflightError | None:
        """Say why the table cannot be read, or None where it can."""
        return self.faults.get(table.name)

    def count(self, table: Table, ids: Sequence[str | int] | None) -> int | None:
        """Count rows; None where overlapping segments would have to be read for it."""
        if ids is None:
            return self.state(table).rows
        segments = self._segments.get(table.name, ())
        if len(segments) != 1:
            return None if segments or self.fault(table) else 0
        hits = _find(segments, Scan(table=table, columns=(), ids=ids))
        return int((hits.high - hits.low).sum())

    def scan(self, scan: Scan) -> Iterator[Rows]:
        """Read rows, in order of what was asked for and of row keys within."""
        if table_fault := self.fault(scan.table):
            raise table_fault
        segments = self._segments.get(scan.table.name, ())
        if not segments:
            return
        hits = _find(segments, scan)
        counts = hits.high - hits.low
        reader = _Reader(segments, scan.schema, self._cache)
        for first, last in _groups(counts.sum(axis=0), reader.row_bytes(hits)):
            found = counts[:, first:last] > 0
            group = _Hits(hits.asked[first:last], hits.low[:, first:last], hits.high[:, first:last])
            if (found.sum(axis=0) > 1).any():
                yield reader.merged(group)
            else:
                yield from reader.sliced(group)


def _find(segments: Sequence[Segment], scan: Scan) -> _Hits:
    if scan.keys is not None:
        asked = np.arange(len(scan.keys))
        bounds = [(segment.search(scan.keys), segment.search(scan.keys, "right")) for segment in segments]
    elif scan.ids is not None:
        expression = key_expression(scan.table.key)
        prefixes = [expression.prefix(scan.table.id, value) for value in scan.ids]
        # no key is as long as that, and one such prefix would widen the array of all
        asked = np.flatnonzero([len(prefix) <= MAX_KEY_BYTES for prefix in prefixes])
        starts, stops = prefix_ranges([prefixes[place] for place in asked.tolist()])
        bounds = [(segment.search(starts), segment.search(stops)) for segment in segments]
    else:
        cuts = np.unique(np.concatenate([segment.fences for segment in segments]))
        asked = np.zeros(len(cuts), dtype=np.int64)
        alone = len(segments) == 1
        lows = [np.arange(len(cuts)) * BATCH_ROWS if alone else segment.search(cuts) for segment in segments]
        bounds = [(low, np.append(low[1:], segment.record.rows)) for low, segment in zip(lows, segments, strict=True)]
    return _Hits(asked, np.stack([low for low, _ in bounds]), np.stack([high for _, high in bounds]))


def _groups(counts: npt.NDArray[np.int64], row_bytes: float) -> Iterator[tuple[int, int]]:
    """Cut ranges into runs of about the bytes wanted, the first one small."""
    ends = np.cumsum(counts)
    first, size = 0, FIRST_GROUP_BYTES
    while first < len(counts):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + max(1, size / row_bytes), side="right")))
        if ends[last - 1] > done:
            yield first, last
        first, size = last, GROUP_BYTES


class _Reader:
    """Reads rows of one table's segments as one schema."""

    def __init__(self, segments: Sequence[Segment], schema: pa.Schema, cache: SegmentCache) -> None:
        self._segments = segments
        self._schema = schema
        self._cache = cache
        self._names = tuple(schema.names)

    def row_bytes(self, hits: _Hits) -> float:
        """Estimate the bytes of a row from the first batch that the scan will read."""
        found = np.argwhere(hits.high > hits.low)
        if len(found) == 0:
            return 1.0
        segment, range_ = found[0]
        batch = self._batch(int(segment), int(hits.low[segment, range_]) // BATCH_ROWS)
        return max(1.0, float(pa.ipc.get_record_batch_size(batch)) / len(batch))

    def sliced(self, hits: _Hits) -> Iterator[Rows]:
        """Read ranges whose rows stand in one segment each; large slices leave as they are, small ones joined."""
        pending: list[Rows] = []
        for segment, low, high, asked in self._runs(hits):
            start = low
            for number, first, rows in pieces(low, high):
                slice_ = self._batch(segment, number).slice(first, rows)
                begin = start - low
                piece = Rows(slice_, asked[begin : begin + rows], self._segments[segment].keys(start, start + rows))
                start += rows
                if rows > BATCH_ROWS // 4 and pa.ipc.get_record_batch_size(slice_) >= ALONE_BYTES:
                    yield from _flush(pending)
                    pending = []
                    yield piece
                else:
                    pending.append(piece)
        yield from _flush(pending)

    def merged(self, hits: _Hits) -> Rows:
        """Read ranges whose rows stand in several segments: the newest row of each key, in order."""
        batches, asked, keys, age = [], [], [], []
        for segment in range(len(self._segments)):
            for range_, (low, high) in enumerate(zip(hits.low[segment].tolist(), hits.high[segment].tolist(), strict=True)):
                if low < high:
                    batches += [self._batch(segment, n).slice(first, rows) for n, first, rows in pieces(low, high)]
                    asked.append(np.full(high - low, hits.asked[range_]))
                    keys.append(self._segments[segment].keys(low, high))
                    age.append(np.full(high - low, segment))
        all_asked, all_keys = np.concatenate(asked), np.concatenate(keys)
        order = np.lexsort((np.concatenate(age), all_keys, all_asked))
        sorted_asked, sorted_keys = all_asked[order], all_keys[order]
        newest = np.append((sorted_keys[1:] != sorted_keys[:-1]) | (sorted_asked[1:] != sorted_asked[:-1]), True)
        batch = pa.concat_batches(batches).take(pa.array(order[newest]))
        return Rows(batch, sorted_asked[newest], sorted_keys[newest])

    def _runs(self, hits: _Hits) -> Iterator[tuple[int, int, int, npt.NDArray[np.int64]]]:
        """Give each stretch of neighbouring rows of a segment: segment, low, high, what each row was asked by."""
        run: tuple[int, int, int] | None = None
        asked: list[npt.NDArray[np.int64]] = []
        for range_ in range(len(hits.asked)):
            segment = int(np.argmax(hits.high[:, range_] - hits.low[:, range_]))
            low, high = int(hits.low[segment, range_]), int(hits.high[segment, range_])
            if low == high:
                continue
            if run is not None and run[0] == segment and run[2] == low:
                run = (segment, run[1], high)
            else:
                if run is not None:
                    yield *run, np.concatenate(asked)
                run, asked = (segment, low, high), []
            asked.append(np.full(high - low, hits.asked[range_]))
        if run is not None:
            yield *run, np.concatenate(asked)

    def _batch(self, segment: int, number: int) -> pa.RecordBatch:
        opened = self._segments[segment]
        key = (opened.record.id, number, self._names)
        return self._cache.get(key, lambda: self._cache.projection(opened, self._schema).batch(number))


def _flush(parts: list[Rows]) -> Iterator[Rows]:
    if parts:
        yield joined(parts)
