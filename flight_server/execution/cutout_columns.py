"""The stage that attaches cutouts: the cutout table has their locations, the blocks have their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.catalog import Catalog
from flight_server.cutouts.arrays import decode
from flight_server.cutouts.compression import unpacked
from flight_server.execution.completeness import CutoutCounts
from flight_server.execution.reader import PlanReader
from flight_server.planning.plan import Plan
from flight_server.planning.shape import cutout_key_columns
from flight_server.protocol.completeness import FailedCutout
from flight_server.protocol.errors import BackendLost, TooLarge
from flight_server.storage.protocols import CutoutStore, Stamps
from flight_server.storage.row_keys import keys_of_parts
from flight_server.storage.scans import Rows
from flight_server.storage.stamp_rows import place_names, stamp_places

__all__ = ["CutoutLimits", "attach_cutouts"]

FIRST_ROWS = 32  # rows whose cutouts are read together: few at first, so that the first message is sent soon
MOST_ROWS = 4096
MOST_BYTES = 33_554_432  # of cutouts in memory, about
PIECE_ROWS = 64  # rows whose cutouts are converted together
CHECK_SECONDS = 0.25  # between checks of the deadline while cutouts are read


@dataclass(frozen=True, slots=True)
class CutoutLimits:
    """The most cutouts of one answer, and the most bytes of an unpacked cutout."""

    cutouts: int
    unpacked_bytes: int


def attach_cutouts(
    rows: Iterator[Rows],
    *,
    reader: PlanReader,
    catalog: Catalog,
    store: CutoutStore,
    limits: CutoutLimits,
    counts: CutoutCounts,
) -> Iterator[Rows]:
    """Append the plan's cutout columns, some rows at a time.

    Raises
    ------
    TooLarge
        The answer has more cutouts than the limit.
    """
    plan = reader.plan
    source = _Source(reader, catalog, store)
    window = _Window(FIRST_ROWS)
    for part in _windows(_bounded(rows, plan, limits.cutouts), window):
        attached = source.read(part)
        window.learn(len(part), attached.stamps)
        attached.count(counts)
        for first in range(0, len(part), PIECE_ROWS):
            reader.deadline.check()
            piece = part.slice(first, PIECE_ROWS)
            cells = [piece.batch[column.name] for column in plan.shape.columns]
            cells += attached.columns(plan, first, len(piece), limits.unpacked_bytes, counts)
            yield replace(piece, batch=pa.RecordBatch.from_arrays(cells, schema=plan.shape.schema))


@dataclass(slots=True)
class _Window:
    """The number of rows read together. It grows, so that a Parquet page with cutouts of many rows is read once."""

    rows: int
    sent: int = 0
    bytes: int = 0

    def learn(self, rows: int, stamps: Stamps) -> None:
        """Update the number of rows from the bytes of the last cutouts."""
        self.sent += rows
        self.bytes += sum(values.nbytes for values in stamps.kinds.values())
        fitting = MOST_BYTES * self.sent // max(self.bytes, 1)
        self.rows = max(1, min(self.rows * 4, MOST_ROWS, fitting))


@dataclass(frozen=True, slots=True)
class _Attached:
    """The cutouts of some rows with their objects and alerts; `own` marks the rows that can have cutouts.

    `planes` are the numbers of the images that are wanted of each cutout.
    """

    stamps: Stamps
    own: npt.NDArray[np.bool_]
    object_ids: pa.Array
    alert_ids: pa.Array
    planes: tuple[int, ...]

    def count(self, counts: CutoutCounts) -> None:
        """Count bytes read, failed cutouts and missing ones."""
        counts.bytes_read += self.stamps.bytes_read
        for failure in self.stamps.failures:
            self._add_failed(counts, failure.row, failure.kind, failure.reason)
        kinds = self.stamps.kinds.values()
        empty = sum(int(pc.sum(pc.and_(values.is_null(), pa.array(self.own))).as_py() or 0) for values in kinds)
        counts.missing += empty - len(self.stamps.failures)

    def columns(self, plan: Plan, first: int, length: int, most: int, counts: CutoutCounts) -> list[pa.Array]:
        """Return the cutout columns of some of the rows, in the requested format."""
        made: list[pa.Array] = []
        for kind in plan.query.cutouts:
            values = self.stamps.kinds[kind].slice(first, length)
            faults: dict[int, str] = {}
            if plan.query.cutout_format == "array":
                for number in self.planes:
                    decoded = decode(values, tuple(plan.shape.cutouts[len(made)].type.shape), most, number)
                    faults |= decoded.faults
                    made += decoded.columns()
            elif plan.query.cutout_format == "fits":
                values, faults = unpacked(values, most)
                made.append(values)
            else:
                made.append(values)
            for row, reason in faults.items():
                self._add_failed(counts, first + row, kind, reason)
        return made

    def _add_failed(self, counts: CutoutCounts, row: int, kind: str, reason: str) -> None:
        object_id, alert_id = (ids[row].as_py() for ids in (self.object_ids, self.alert_ids))
        counts.add_failed(FailedCutout(object_id, alert_id, kind, reason))


class _Source:
    """Reader of the cutouts of one answer."""

    def __init__(self, reader: PlanReader, catalog: Catalog, store: CutoutStore) -> None:
        table = reader.plan.cutout_table
        if table is None:
            raise ValueError("the plan has no cutouts")
        self._reader = reader
        self._store = store
        self._table = table
        self._layout = catalog.surveys[table.survey].alerts
        self._columns = stamp_places(table, self._layout, catalog.described(table))
        self._planes = tuple(map(self._layout.planes.index, reader.plan.query.cutout_planes))

    def read(self, rows: Rows) -> _Attached:
        """Read the cutouts of some rows."""
        reader, columns = self._reader, self._columns
        own = _own_rows(reader.plan, rows)
        here, keys = self._keys(rows)
        found = list(reader.scan(self._table, columns, keys=keys))
        position = np.full(len(rows), -1)
        if found:
            index = here[np.concatenate([part.request_index for part in found])]
            position[index] = np.arange(len(index))
        position[~own] = -1
        places = pa.Table.from_batches([part.batch for part in found], schema=columns.schema)
        places = places.take(pa.array(position, mask=position < 0)).combine_chunks()
        paths, object_ids, alert_ids = (places[name].combine_chunks() for name in place_names(self._table, self._layout))
        while True:
            try:
                return _Attached(self._stamps(paths, object_ids, alert_ids), own, object_ids, alert_ids, self._planes)
            except BackendLost:
                # an answer that is under way goes on when the service does
                if not reader.deadline.sending.has_begun or not self._store.await_services(reader.deadline):
                    raise

    def _keys(self, rows: Rows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bytes_]]:
        """Return the rows that may have cutouts, and the keys of their places: their own, or those of their alert IDs."""
        names = cutout_key_columns(self._reader.plan.table, self._table)
        if not names:
            return np.arange(len(rows)), rows.keys
        parts = [rows.batch[name] for name in names]
        known = np.logical_and.reduce([part.is_valid().to_numpy(zero_copy_only=False) for part in parts])
        here = np.flatnonzero(known)
        chosen = pa.array(here)
        return here, keys_of_parts(self._table, {name: part.take(chosen) for name, part in zip(names, parts, strict=True)})

    def _stamps(self, paths: pa.Array, object_ids: pa.Array, alert_ids: pa.Array) -> Stamps:
        pending = self._store.begin(self._layout.block, paths, object_ids, alert_ids, self._reader.plan.query.cutouts)
        try:
            while (stamps := pending.wait(CHECK_SECONDS)) is None:
                self._reader.deadline.check()
        finally:
            pending.cancel()
        return stamps


def _bounded(rows: Iterator[Rows], plan: Plan, most: int) -> Iterator[Rows]:
    """Raise if the rows have more cutouts than the limit."""
    requested = 0
    for part in rows:
        requested += len(part) * len(plan.query.cutouts)
        if requested > most:
            message = f"an answer has at most {most} cutouts: request fewer objects at once"
            raise TooLarge(message, field="cutouts", value=requested)
        yield part


def _windows(rows: Iterator[Rows], window: _Window) -> Iterator[Rows]:
    """Join and cut rows into runs of the window's size."""
    waiting: list[Rows] = []
    count = 0
    for part in rows:
        waiting.append(part)
        count += len(part)
        while count >= window.rows:
            whole, size = Rows.concat(waiting), window.rows
            yield whole.slice(0, size)
            count -= size
            waiting = [whole.slice(size, count)] if count else []
    if waiting:
        yield Rows.concat(waiting)


def _own_rows(plan: Plan, rows: Rows) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows from the plan's own table; only these can have cutouts."""
    added = plan.shape.added
    if added is None:
        return np.ones(len(rows), dtype=bool)
    own: npt.NDArray[np.bool_] = pc.equal(rows.batch[added.tag], added.own).to_numpy(zero_copy_only=False)
    return own
