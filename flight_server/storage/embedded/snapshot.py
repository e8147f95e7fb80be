"""Snapshots of the embedded store: its segments at one moment, and scans of them.

A scan is a list of key ranges. All ranges are looked up in all segments at once; then groups of ranges are read together.
Consecutive rows are slices of the mapped file, scattered rows are gathered. If several segments have a row with the same key,
the newest one wins.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.columns import TYPES, Projection
from flight_server.catalog.declarations import Table
from flight_server.protocol.errors import AlertflightError
from flight_server.storage.embedded.gather import gather, runs_of
from flight_server.storage.embedded.held_values import unfit_value
from flight_server.storage.embedded.manifest import ManifestState
from flight_server.storage.embedded.mapped_files import LookPace
from flight_server.storage.embedded.range_groups import range_groups, turned
from flight_server.storage.embedded.segment_cache import OpenBatch, SegmentCache
from flight_server.storage.embedded.segments import BATCH_ROWS, Segment, SegmentProjection
from flight_server.storage.embedded.versions import segments_until, written_at
from flight_server.storage.key_columns import with_key_columns
from flight_server.storage.keys import MAX_KEY_BYTES, KeyExpression, key_expression, prefix_ranges
from flight_server.storage.protocols import TableState
from flight_server.storage.scans import Rows, Scan

__all__ = ["Snapshot"]

Places = npt.NDArray[np.int64]

PART_BYTES = 33_554_432
NO_KEYS: npt.NDArray[np.bytes_] = np.zeros(0, dtype="S1")
NARROW_BYTES = 262_144  # of a batch: narrower rows are gathered, since messages are larger than their batches
FEW_IDS = 4
MANY_IDS = 64  # from this many on, objects are looked up in a segment's object index instead of its keys
END = b"\xff"  # sorts after every key, since keys are UTF-8
FEW_RUNS = 8  # up to this many runs of rows, concatenation is faster than gathering


@dataclass(frozen=True, slots=True)
class _Hits:
    """The rows [low, high) of each range in each segment, both of shape (segments, ranges)."""

    request_index: npt.NDArray[np.int64]
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]


class Snapshot:
    """A `RowView` of one state of the manifest.

    Parameters
    ----------
    state
        The state of the manifest.
    segments
        The open segments of each table, oldest first.
    cache
        The cache of opened batches, shared with other snapshots.
    faults
        The errors of tables that cannot be read, by table.
    reported
        Returns the error of a table with damage that a scrub has found, or None; its other rows are read.
    """

    keeps_versions = True

    def __init__(
        self,
        state: ManifestState,
        segments: Mapping[str, Sequence[Segment]],
        cache: SegmentCache,
        faults: Mapping[str, AlertflightError] | None = None,
        reported: Callable[[str], AlertflightError | None] = lambda _: None,
    ) -> None:
        self._state = state
        self._segments = segments
        self._cache = cache
        self._paces: defaultdict[str, LookPace] = defaultdict(LookPace)
        self.faults = faults or {}
        self._reported = reported
        self.as_of = max((record.written for record in state.ingests), default=0)
        columns: dict[str, dict[str, pa.DataType]] = {}
        for record in sorted(state.columns, key=lambda found: found.position):
            columns.setdefault(record.table_name, {})[record.name] = TYPES[record.type]
        self.columns: Mapping[str, Mapping[str, pa.DataType]] = columns
        self.refused: Mapping[str, Mapping[str, str]] = {}  # segments have the types of the catalog

    def segments(self, table: Table) -> Sequence[Segment]:
        """Return the segments of a table, oldest first.

        Raises
        ------
        AlertflightError
            The table cannot be read.
        """
        if table_fault := self.fault(table):
            raise table_fault
        return self._segments.get(table.name, ())

    def state(self, table: Table) -> TableState:
        """Return the state of a table."""
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
        """Return the error of a table that cannot be read, or of which damage is known; or None."""
        if table.name in self.faults:
            return self.faults[table.name]
        damaged = (segment.damage for segment in self._segments.get(table.name, ()) if segment.damage is not None)
        return next(damaged, None) or self._reported(table.name)

    def unfit(self, table: Table, name: str, kind: pa.DataType) -> object | None:
        """Return a stored value that a wider type would round; see `RowView.unfit`."""
        if table_fault := self.fault(table):
            raise table_fault
        return unfit_value(self._segments.get(table.name, ()), name, kind)

    def split(self, scan: Scan) -> Sequence[tuple[bytes, bytes]]:
        """Split a scan at batch boundaries into parts of about `PART_BYTES`."""
        if table_fault := self.faults.get(scan.table.name):
            raise table_fault
        state = self.state(scan.table)
        batch_bytes = max(1, (state.bytes or 0) * BATCH_ROWS // max(1, state.rows or 0))
        fences = [segment.fences for segment in self._segments.get(scan.table.name, ())]
        cuts = np.sort(np.concatenate(fences)) if fences else np.zeros(0, dtype="S1")
        return key_expression(scan.table.key).split(scan, cuts[:: -(-PART_BYTES // batch_bytes)].tolist())

    def count(self, table: Table, ids: Sequence[str | int] | None) -> int | None:
        """Return the number of rows, or None if overlapping segments would have to be read for it."""
        if ids is None:
            return self.state(table).rows
        segments = self._segments.get(table.name, ())
        if len(segments) != 1:
            return None if segments or self.fault(table) else 0
        hits = _find(segments, Scan(table=table, columns=Projection(), ids=ids))
        return int((hits.high - hits.low).sum())

    def scan(self, scan: Scan) -> Iterator[Rows]:
        """Read rows, ordered by request index, then by row key."""
        return with_key_columns(scan, self._scan)

    def _scan(self, scan: Scan) -> Iterator[Rows]:
        """Read the cells of rows."""
        if table_fault := self.faults.get(scan.table.name):
            raise table_fault
        segments = self._segments.get(scan.table.name, ())
        until = None
        if scan.as_of is not None:
            segments = self._until(segments, scan.as_of)
            # if all segments are older than that, rows need no check
            until = scan.as_of if any(segment.record.written > scan.as_of for segment in segments) else None
        if not segments:
            return
        pace = self._paces[scan.table.name]
        pace.look(segments)
        hits = _find(segments, scan)
        counts = hits.high - hits.low
        reader = _Reader(segments, scan, self._cache, until)
        if until is None and not scan.reverse and (alone := reader.one_run(hits)) is not None:
            yield alone
            return
        row_bytes = reader.row_bytes(hits)
        for first, last in range_groups(counts.sum(axis=0), row_bytes, scan.reverse):
            scan.deadline.check()
            pace.look(segments)
            some = _Hits(hits.request_index[first:last], hits.low[:, first:last], hits.high[:, first:last])
            found = reader.read(some, row_bytes)
            yield from turned(found) if scan.reverse else found

    def _until(self, segments: Sequence[Segment], as_of: int) -> Sequence[Segment]:
        began = min((record.written for record in self._state.ingests), default=0)
        return segments_until(segments, as_of) if as_of >= began else ()


def _find(segments: Sequence[Segment], scan: Scan) -> _Hits:
    if scan.keys is not None:
        index = np.arange(len(scan.keys))
        bounds = [(segment.search(scan.keys), segment.search(scan.keys, "right")) for segment in segments]
    elif scan.ids is not None:
        expression = key_expression(scan.table.key)
        prefixes = expression.prefixes(scan.table.id, scan.ids)
        index = np.arange(len(prefixes))
        if max(map(len, prefixes), default=0) > MAX_KEY_BYTES:
            # no key is that long, and numpy would pad all prefixes to it
            index = np.flatnonzero([len(prefix) <= MAX_KEY_BYTES for prefix in prefixes])
            prefixes = [prefixes[place] for place in index.tolist()]
        if len(index) >= MANY_IDS:
            beginnings = np.array(prefixes)
            hits = [_objects_in(segment, beginnings, expression) for segment in segments]
            return _Hits(index, np.stack([low for low, _ in hits]), np.stack([high for _, high in hits]))
        starts, stops = prefix_ranges(prefixes)
        if len(index) <= FEW_IDS:
            pairs = list(zip(starts.tolist(), stops.tolist(), strict=True))
            found = np.array([[segment.find(*pair) for pair in pairs] for segment in segments], dtype=np.int64)
            found = found.reshape(len(segments), len(pairs), 2)  # also if no ID is left
            return _Hits(index, found[:, :, 0], found[:, :, 1])
        bounds = [(segment.search(starts), segment.search(stops)) for segment in segments]
    elif scan.spans is not None or scan.within is not None:
        return _find_spans(segments, scan)
    else:
        cuts = np.unique(np.concatenate([segment.fences for segment in segments]))
        first = 0
        if scan.after is not None:
            # cut the key, which sorts after its cut form: numpy would pad all fences to a longer one
            first = max(0, int(np.searchsorted(cuts, scan.after[: cuts.itemsize], side="right")) - 1)
        index = np.zeros(len(cuts) - first, dtype=np.int64)
        alone = len(segments) == 1
        lows = [np.arange(first, len(cuts)) * BATCH_ROWS if alone else segment.search(cuts[first:]) for segment in segments]
        if scan.after is not None:
            for low, segment in zip(lows, segments, strict=True):
                low[0] = segment.search(np.array([scan.after]), "right")[0]
        bounds = [(low, np.append(low[1:], segment.record.rows)) for low, segment in zip(lows, segments, strict=True)]
    return _Hits(index, np.stack([low for low, _ in bounds]), np.stack([high for _, high in bounds]))


def _objects_in(segment: Segment, beginnings: npt.NDArray[np.bytes_], expression: KeyExpression) -> tuple[Places, Places]:
    """Return the rows [low, high) of objects in a segment; empty for objects that it does not have."""
    low: Places = np.zeros(len(beginnings), dtype=np.int64)
    high = low.copy()
    # a key sorts after its prefixes
    may = np.flatnonzero((beginnings >= segment.first_object(expression)) & (beginnings <= segment.last_key))
    if len(may):
        low[may], high[may] = segment.objects(expression).find(beginnings[may])
    return low, high


def _find_spans(segments: Sequence[Segment], scan: Scan) -> _Hits:
    """Find spans; split long ones at batch boundaries, so that they are read in parts."""
    ranges = [(number, start, stop or END) for number, start, stop in key_expression(scan.table.key).ranges(scan)]
    hits = _find_ranges(segments, ranges)
    if (hits.high - hits.low).max(initial=0) <= BATCH_ROWS:
        return hits
    fences = np.unique(np.concatenate([segment.fences for segment in segments]))
    parts = []
    for number, start, stop in ranges:
        inside = fences[np.searchsorted(fences, start, "right") : np.searchsorted(fences, stop)]
        cuts = [start, *inside.tolist(), stop]
        parts += [(number, *pair) for pair in itertools.pairwise(cuts)]
    return _find_ranges(segments, parts)


def _find_ranges(segments: Sequence[Segment], ranges: Sequence[tuple[int, bytes, bytes]]) -> _Hits:
    if not ranges:
        nothing = np.zeros((len(segments), 0), dtype=np.int64)
        return _Hits(np.zeros(0, dtype=np.int64), nothing, nothing)
    index, starts, stops = (np.array(part) for part in zip(*ranges, strict=True))
    found = [(segment.search(starts), segment.search(stops)) for segment in segments]
    return _Hits(index, np.stack([low for low, _ in found]), np.stack([high for _, high in found]))


class _Reader:
    """Reader of rows from the segments of one table; only rows written until a time, if one is given."""

    def __init__(self, segments: Sequence[Segment], scan: Scan, cache: SegmentCache, until: int | None) -> None:
        self._segments = segments
        self._until = until
        self._schema = scan.schema
        self._columns = scan.columns
        self._ids = scan.ids
        self._id = scan.table.id
        self._cache = cache

    def row_bytes(self, hits: _Hits) -> float:
        """Estimate the bytes of a row from the first batch that the scan will read."""
        found = np.argwhere(hits.high > hits.low)
        if len(found) == 0:
            return 1.0
        segment, range_ = found[0]
        opened = self._open(int(segment), int(hits.low[segment, range_]) // BATCH_ROWS)
        return max(1.0, opened.bytes / len(opened.batch))

    def one_run(self, hits: _Hits) -> Rows | None:
        """Return the rows if they are one run within one batch, as most light curves are; else None."""
        found = np.flatnonzero(hits.high > hits.low)
        if len(found) != 1:
            return None
        segment, range_ = divmod(int(found[0]), hits.low.shape[1])
        low, high = int(hits.low[segment, range_]), int(hits.high[segment, range_])
        if low // BATCH_ROWS != (high - 1) // BATCH_ROWS:
            return None
        index = np.full(high - low, hits.request_index[range_])
        return Rows(self._slice(segment, low, high - low), index, self._segments[segment].keys(low, high))

    def read(self, hits: _Hits, row_bytes: float) -> Iterator[Rows]:
        """Read ranges: slice consecutive rows from the mapped file, gather scattered and narrow ones."""
        segments, rows, index = _expand(hits)
        if self._until is not None:
            written = self._written_until(segments, rows, self._until)
            segments, rows, index = segments[written], rows[written], index[written]
            if len(rows) == 0:
                return
        keys = self._keys(segments, rows)
        if (np.count_nonzero(hits.high > hits.low, axis=0) > 1).any():
            order = np.lexsort((segments, keys, index))
            segments, rows, index, keys = segments[order], rows[order], index[order], keys[order]
            newest = np.append((keys[1:] != keys[:-1]) | (index[1:] != index[:-1]), True)
            segments, rows, index, keys = segments[newest], rows[newest], index[newest], keys[newest]
        if row_bytes * BATCH_ROWS < NARROW_BYTES:
            yield self._gathered(segments, rows, index, keys)
            return
        begins = runs_of(segments, rows)
        ends = np.append(begins[1:], len(rows))
        large = (ends - begins) > BATCH_ROWS // 4
        first = 0
        for begin, end in zip(begins[large].tolist(), ends[large].tolist(), strict=True):
            if first < begin:
                yield self._gathered(segments[first:begin], rows[first:begin], index[first:begin], keys[first:begin])
            yield Rows(self._slice(int(segments[begin]), int(rows[begin]), end - begin), index[begin:end], keys[begin:end])
            first = end
        if first < len(rows):
            yield self._gathered(segments[first:], rows[first:], index[first:], keys[first:])

    def _written_until(self, segments: Places, rows: Places, until: int) -> npt.NDArray[np.bool_]:
        written = np.ones(len(rows), dtype=bool)
        for number in np.unique(segments).tolist():
            if self._segments[number].record.written > until:
                here = segments == number
                written[here] = written_at(self._segments[number], rows[here]) <= until
        return written

    def _gathered(self, segments: Places, rows: Places, index: Places, keys: npt.NDArray[np.bytes_]) -> Rows:
        begins = runs_of(segments, rows)
        if len(begins) == 1:
            return Rows(self._slice(int(segments[0]), int(rows[0]), len(rows)), index, keys)
        if len(begins) <= FEW_RUNS:
            ends = np.append(begins[1:], len(rows))
            places = zip(segments[begins].tolist(), rows[begins].tolist(), (ends - begins).tolist(), strict=True)
            return Rows(pa.concat_batches([self._slice(*place) for place in places]), index, keys)
        used = np.flatnonzero(np.bincount(segments))
        opened = [(self._segments[segment], self._projection(segment)) for segment in used.tolist()]
        batch = gather(
            opened,
            segments if len(used) == len(self._segments) else np.searchsorted(used, segments),
            rows,
            self._schema,
            known=self._known(index),
            open_batch=lambda place, number: self._open(int(used[place]), number),
        )
        return Rows(batch, index, keys)

    def _known(self, index: Places) -> dict[int, pa.Array]:
        """Return the ID column, if rows are selected by ID: it is built from the request instead of read."""
        place = -1 if self._ids is None else self._schema.get_field_index(self._id)
        return {} if place < 0 else {place: pa.array(self._ids, self._schema.field(place).type).take(pa.array(index))}

    def _keys(self, segments: Places, rows: Places) -> npt.NDArray[np.bytes_]:
        begins = runs_of(segments, rows)
        own, starts, lengths = segments[begins], rows[begins], np.diff(np.append(begins, len(rows)))
        used = np.unique(own).tolist()
        found = [self._segments[used[0]].key_runs(starts, lengths)] if len(used) == 1 else []
        if not found:
            parts: list[npt.NDArray[np.bytes_]] = [NO_KEYS] * len(begins)
            for segment in used:
                here = np.flatnonzero(own == segment)
                runs = self._segments[segment].key_runs(starts[here], lengths[here])
                for place, run in zip(here.tolist(), runs, strict=True):
                    parts[place] = run
            found = [parts]
        return np.concatenate(found[0]) if len(begins) > 1 else found[0][0]

    def _slice(self, segment: int, row: int, length: int) -> pa.RecordBatch:
        number, first = divmod(row, BATCH_ROWS)
        return self._open(segment, number).batch.slice(first, length)

    def _open(self, segment: int, number: int) -> OpenBatch:
        return self._cache.batch(self._projection(segment), number)

    def _projection(self, segment: int) -> SegmentProjection:
        return self._cache.projection(self._segments[segment], self._columns)


def _expand(hits: _Hits) -> tuple[Places, Places, Places]:
    """Return segment, row and request index of every row of ranges, ordered by range, segment and row."""
    counts = (hits.high - hits.low).T.ravel()
    some = np.flatnonzero(counts)
    counts = counts[some]
    ranges, segments = np.divmod(some, len(hits.low))
    ramp = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.repeat(hits.low[segments, ranges], counts) + ramp
    return np.repeat(segments, counts), rows, np.repeat(hits.request_index[ranges], counts)
