"""Stamps beside rows: where they are is read from the stamps table, what they are from their blocks."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.answers import Tally
from flight_server.catalogue import Catalogue, schema_of
from flight_server.declarations import Table
from flight_server.errors import TooLarge
from flight_server.plan import Plan
from flight_server.reading import Reading
from flight_server.settings import Settings
from flight_server.stamp_arrays import decode
from flight_server.stamps import unpacked
from flight_server.storage.protocols import CutoutStore, Rows, Stamps, part

__all__ = ["Stamping"]

STAMPED_ROWS = 64  # rows whose stamps are read together


class Stamping:
    """Puts the stamps of one answer beside its rows.

    Parameters
    ----------
    reading
        A plan with cutouts.
    catalogue, cutouts, settings
        What the archive has.
    tally
        Counts what is missing or damaged.
    """

    def __init__(self, reading: Reading, catalogue: Catalogue, cutouts: CutoutStore, settings: Settings, tally: Tally) -> None:
        self._reading = reading
        self._plan = reading.plan
        self._catalogue = catalogue
        self._cutouts = cutouts
        self._settings = settings
        self._tally = tally

    def stamped(self, rows: Iterator[Rows], table: Table) -> Iterator[Rows]:
        """Give the rows in the answer's schema, a few at a time; `table` says where their stamps are."""
        schema = self._plan.schema
        most = self._settings.limits.cutouts
        read = 0
        for some in rows:
            if not len(some.batch):
                yield some
            for first in range(0, len(some.batch), STAMPED_ROWS):
                self._reading.patience.check()
                piece = part(some, first, STAMPED_ROWS)
                read += len(piece.batch) * len(self._plan.query.cutouts)
                if read > most:
                    raise TooLarge(
                        f"one answer has at most {most} stamps: ask for fewer objects at once", field="cutouts", value=read
                    )
                stamps = yield from self._columns(piece, table)
                cells = [piece.batch[column.name] for column in self._plan.columns] + stamps
                yield replace(piece, batch=pa.RecordBatch.from_arrays(cells, schema=schema))

    def _columns(self, rows: Rows, table: Table) -> Generator[Rows, None, list[pa.Array]]:
        """Give the columns of stamps for some rows; on the way, what the store gives while it waits."""
        own = _own_rows(self._plan, rows)
        stamps = yield from self._read(rows, table, own)
        self._tally.cutout_bytes_read += stamps.bytes_read
        made: list[pa.Array] = []
        for kind in self._plan.query.cutouts:
            values = stamps.kinds[kind]
            self._tally.missing_cutouts += int(pc.sum(pc.and_(values.is_null(), pa.array(own))).as_py() or 0)
            most = self._settings.cutouts.max_unpacked
            if self._plan.query.cutout_format == "array":
                decoded = decode(values, tuple(self._plan.cutouts[len(made)].type.shape), most)
                self._tally.cutout_errors.update(decoded.faults.values())
                made += decoded.columns()
                continue
            if self._plan.query.cutout_format == "fits":
                values, reasons = unpacked(values, most)
                self._tally.cutout_errors.update(reasons)
            made.append(values)
        return made

    def _read(self, rows: Rows, table: Table, own: np.ndarray[Any, np.dtype[np.bool_]]) -> Generator[Rows, None, Stamps]:
        known = self._catalogue.known[table.survey]
        layout = self._catalogue.surveys[table.survey].alerts
        columns = tuple(known[name] for name in (str(table.path), table.id, layout.alert_id))
        found = []
        for some in self._reading.scan(table, columns, keys=rows.keys):
            if len(some.batch):
                found.append(some)
            else:
                yield some
        position = np.full(len(rows.batch), -1)
        if found:
            asked = np.concatenate([some.asked for some in found])
            position[asked] = np.arange(len(asked))
        position[~own] = -1
        places = pa.Table.from_batches([some.batch for some in found], schema=schema_of(columns))
        places = places.take(pa.array(position, mask=position < 0)).combine_chunks()
        paths, object_ids, alert_ids = (places[column.name].combine_chunks() for column in columns)
        return self._cutouts.read(paths, object_ids, alert_ids, self._plan.query.cutouts)


def _own_rows(plan: Plan, rows: Rows) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Say which rows are of the plan's own table, which are those that can have stamps."""
    limits = plan.table.upper_limits
    if not plan.added or limits is None:
        return np.ones(len(rows.batch), dtype=bool)
    own: np.ndarray[Any, np.dtype[np.bool_]] = pc.equal(rows.batch[limits.tag], limits.own).to_numpy(zero_copy_only=False)
    return own
