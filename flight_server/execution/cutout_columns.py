"""Stamps beside rows: where they are is read from the stamps table, what they are from their blocks."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.catalog import Catalog, schema_of
from flight_server.catalog.declarations import Table
from flight_server.cutouts.arrays import decode
from flight_server.cutouts.compression import unpacked
from flight_server.execution.completeness import CompletenessCounter, FailedCutout
from flight_server.execution.reader import Reading
from flight_server.planning.plan import Plan
from flight_server.protocol.errors import TooLarge
from flight_server.settings import Settings
from flight_server.storage.protocols import NOTHING_YET, CutoutStore, Rows, Stamps, joined, part

__all__ = ["Stamping"]

FIRST_ROWS = 32  # rows whose stamps are read together: few at first, so that the first leave soon
MOST_ROWS = 4096
MOST_BYTES = 33_554_432  # of stamps that wait to be sent, about
PIECE_ROWS = 64  # rows whose stamps are turned into the format asked for together
PULSE_SECONDS = 5.0  # how long a client hears nothing while stamps are read
LOOK_SECONDS = 0.25  # between two looks whether the caller is still there


@dataclass(slots=True)
class _Window:
    """How many rows are read together: ever more, so that a page that many rows need is read once."""

    rows: int
    sent: int = 0
    bytes: int = 0

    def learn(self, rows: int, stamps: Stamps) -> None:
        """Learn from what some rows' stamps took."""
        self.sent += rows
        self.bytes += sum(values.nbytes for values in stamps.kinds.values())
        fitting = MOST_BYTES * self.sent // max(self.bytes, 1)
        self.rows = max(1, min(self.rows * 4, MOST_ROWS, fitting))


@dataclass(frozen=True, slots=True)
class _Stamped:
    """Stamps of some rows, and whose they are: `own` marks the rows that can have some."""

    stamps: Stamps
    own: npt.NDArray[np.bool_]
    object_ids: pa.Array
    alert_ids: pa.Array


class Stamping:
    """Puts the stamps of one answer beside its rows.

    Parameters
    ----------
    reading
        A plan with cutouts.
    catalog, cutouts, settings
        What the archive has.
    tally
        Counts what is missing or damaged.
    """

    def __init__(
        self, reading: Reading, catalog: Catalog, cutouts: CutoutStore, settings: Settings, tally: CompletenessCounter
    ) -> None:
        self._reading = reading
        self._plan = reading.plan
        self._catalog = catalog
        self._cutouts = cutouts
        self._settings = settings
        self._tally = tally

    def stamped(self, rows: Iterator[Rows], table: Table) -> Iterator[Rows]:
        """Give the rows in the answer's schema, some at a time; `table` says where their stamps are."""
        schema = self._plan.schema
        window = _Window(FIRST_ROWS)
        for some in _windows(self._bounded(rows), window):
            if not len(some.batch):
                yield some
                continue
            stamped = yield from self._read(some, table)
            window.learn(len(some.batch), stamped.stamps)
            self._count(stamped)
            for first in range(0, len(some.batch), PIECE_ROWS):
                self._reading.deadline.check()
                piece = part(some, first, PIECE_ROWS)
                cells = [piece.batch[column.name] for column in self._plan.columns]
                cells += self._columns(stamped, first, len(piece.batch))
                yield replace(piece, batch=pa.RecordBatch.from_arrays(cells, schema=schema))

    def _bounded(self, rows: Iterator[Rows]) -> Iterator[Rows]:
        """Refuse more stamps than one answer may have."""
        most = self._settings.limits.cutouts
        asked = 0
        for some in rows:
            self._reading.deadline.check()
            asked += len(some.batch) * len(self._plan.query.cutouts)
            if asked > most:
                message = f"one answer has at most {most} stamps: ask for fewer objects at once"
                raise TooLarge(message, field="cutouts", value=asked)
            yield some

    def _count(self, stamped: _Stamped) -> None:
        stamps = stamped.stamps
        self._tally.cutout_bytes_read += stamps.bytes_read
        for failure in stamps.failures:
            self._fail(stamped, failure.row, failure.kind, failure.reason)
        empty = sum(int(pc.sum(pc.and_(v.is_null(), pa.array(stamped.own))).as_py() or 0) for v in stamps.kinds.values())
        self._tally.missing_cutouts += empty - len(stamps.failures)

    def _fail(self, stamped: _Stamped, row: int, kind: str, reason: str) -> None:
        object_id, alert_id = (ids[row].as_py() for ids in (stamped.object_ids, stamped.alert_ids))
        self._tally.fail(FailedCutout(object_id, alert_id, kind, reason))

    def _columns(self, stamped: _Stamped, first: int, length: int) -> list[pa.Array]:
        """Give the columns of stamps for some of the rows, in the format asked for."""
        most = self._settings.cutouts.max_unpacked
        made: list[pa.Array] = []
        for kind in self._plan.query.cutouts:
            values = stamped.stamps.kinds[kind].slice(first, length)
            faults: dict[int, str] = {}
            if self._plan.query.cutout_format == "array":
                decoded = decode(values, tuple(self._plan.cutouts[len(made)].type.shape), most)
                faults = decoded.faults
                made += decoded.columns()
            elif self._plan.query.cutout_format == "fits":
                values, faults = unpacked(values, most)
                made.append(values)
            else:
                made.append(values)
            for row, reason in faults.items():
                self._fail(stamped, first + row, kind, reason)
        return made

    def _read(self, rows: Rows, table: Table) -> Generator[Rows, None, _Stamped]:
        """Read stamps; meanwhile gives rows of zero rows."""
        own = _own_rows(self._plan, rows)
        known = self._catalog.known[table.survey]
        layout = self._catalog.surveys[table.survey].alerts
        columns = tuple(known[name] for name in (str(table.path), table.id, layout.alert_id))
        found = []
        for some in self._reading.scan(table, columns, keys=rows.keys):
            if len(some.batch):
                found.append(some)
            else:
                yield some
        position = np.full(len(rows.batch), -1)
        if found:
            asked = np.concatenate([some.request_index for some in found])
            position[asked] = np.arange(len(asked))
        position[~own] = -1
        places = pa.Table.from_batches([some.batch for some in found], schema=schema_of(columns))
        places = places.take(pa.array(position, mask=position < 0)).combine_chunks()
        paths, object_ids, alert_ids = (places[column.name].combine_chunks() for column in columns)
        pending = self._cutouts.begin(layout.block, paths, object_ids, alert_ids, self._plan.query.cutouts)
        heard = time.monotonic()
        try:
            while (stamps := pending.wait(LOOK_SECONDS)) is None:
                self._reading.deadline.check()
                if time.monotonic() - heard >= PULSE_SECONDS:
                    yield NOTHING_YET
                    heard = time.monotonic()
        finally:
            pending.cancel()
        return _Stamped(stamps, own, object_ids, alert_ids)


def _windows(rows: Iterator[Rows], window: _Window) -> Iterator[Rows]:
    """Join and cut rows into as many as the window takes; those of zero rows go through at once."""
    waiting: list[Rows] = []
    count = 0
    for some in rows:
        if not len(some.batch):
            yield some
            continue
        waiting.append(some)
        count += len(some.batch)
        while count >= window.rows:
            whole = joined(waiting)
            size = window.rows
            yield part(whole, 0, size)
            count -= size
            waiting = [part(whole, size, count)] if count else []
    if waiting:
        yield joined(waiting)


def _own_rows(plan: Plan, rows: Rows) -> npt.NDArray[np.bool_]:
    """Say which rows are of the plan's own table, which are those that can have stamps."""
    limits = plan.table.upper_limits
    if not plan.added or limits is None:
        return np.ones(len(rows.batch), dtype=bool)
    own: npt.NDArray[np.bool_] = pc.equal(rows.batch[limits.tag], limits.own).to_numpy(zero_copy_only=False)
    return own
