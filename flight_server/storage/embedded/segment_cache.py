"""A cache of the batches that were read from segments."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection

import pyarrow as pa

from flight_server.catalog.columns import Projection
from flight_server.storage.embedded.segments import Segment, SegmentProjection

__all__ = ["OpenBatch", "SegmentCache"]


class OpenBatch:
    """A batch of a projection, and its size in a message, bytes."""

    __slots__ = ("batch", "bytes")

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self.bytes = int(pa.ipc.get_record_batch_size(batch))


class SegmentCache:
    """A cache of the last opened batches, by segment, number and projection; bounded by their number."""

    def __init__(self, batches: int = 512) -> None:
        # by the segment itself and not its number: a segment may be opened again, and numbers may come again
        self._held: OrderedDict[tuple[Segment, str, int, int], OpenBatch] = OrderedDict()
        self._projections: dict[tuple[Segment, str], SegmentProjection] = {}
        self._most = batches
        self._lock = threading.Lock()

    def keep(self, segments: Collection[Segment]) -> None:
        """Drop the batches of all other segments, so that their files are closed."""
        with self._lock:
            for key in [key for key in self._held if key[0] not in segments]:
                del self._held[key]
            self._projections.clear()

    def projection(self, segment: Segment, columns: Projection) -> SegmentProjection:
        """Return a segment as a projection, cached."""
        key = (segment, columns.key)
        found = self._projections.get(key)
        if found is None:
            found = SegmentProjection(segment, columns)
            with self._lock:
                if len(self._projections) >= self._most:
                    self._projections.clear()
                self._projections[key] = found
        return found

    def batch(self, projection: SegmentProjection, number: int) -> OpenBatch:
        """Return a batch of a segment, cached."""
        key = (*projection.key, projection.segment.generation, number)
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        made = OpenBatch(projection.batch(number))
        with self._lock:
            self._held[key] = made
            while len(self._held) > self._most:
                self._held.popitem(last=False)
        return made
