"""The archive: one query in, the messages of its answer out. It composes; storage reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.answers import Tally, cursor
from flight_server.batches import cut
from flight_server.callers import Caller
from flight_server.catalogue import Catalogue, Column, empty_batch
from flight_server.declarations import Table
from flight_server.digests import Digest
from flight_server.errors import AlertflightError, DeadlinePassed, TooLarge
from flight_server.light_curves import with_upper_limits
from flight_server.plan import Plan, make_plan
from flight_server.settings import Settings
from flight_server.stamps import unpacked
from flight_server.storage.protocols import CutoutStore, Rows, RowStore, RowView, Scan, Stamps, TableState, part
from flight_server.tickets import Query

__all__ = ["Answer", "Archive", "Message"]

STAMPED_ROWS = 64  # rows whose stamps are read together


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an answer: a batch, and what it says beside it."""

    batch: pa.RecordBatch
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has not been read yet; `messages` reads it, once."""

    plan: Plan
    schema: pa.Schema
    messages: Iterator[Message]


class Archive:
    """Answers queries from a store of rows and a store of stamps.

    Parameters
    ----------
    catalogue
        The packaged catalogue; what the store holds besides is added to it.
    rows, cutouts
        The stores.
    settings
        The limits of an answer and of a stamp.
    """

    def __init__(self, catalogue: Catalogue, rows: RowStore, cutouts: CutoutStore, settings: Settings) -> None:
        self._catalogue = catalogue
        self._rows = rows
        self._cutouts = cutouts
        self._settings = settings
        self._merged: tuple[object, Catalogue] = (None, catalogue)

    def catalogue(self) -> Catalogue:
        """Give the catalogue with the columns that the store holds now."""
        return self._merge(self._rows.view())

    def states(self) -> dict[str, TableState]:
        """Say what each table holds."""
        view = self._rows.view()
        return {name: view.state(table) for name, table in self._catalogue.tables.items()}

    @property
    def store(self) -> str:
        """The kind of store that this archive reads."""
        return self._settings.store

    def faults(self) -> dict[str, AlertflightError]:
        """Say which tables cannot be read, and why."""
        view = self._rows.view()
        found = {name: view.fault(table) for name, table in self._catalogue.tables.items()}
        return {name: fault for name, fault in found.items() if fault is not None}

    def left_out(self) -> dict[str, dict[str, int]]:
        """Count, by table and column, the cells that no answer has, since their type is not known."""
        return {table: dict(cells) for table, cells in self._rows.left_out().items()}

    def refresh(self) -> None:
        """Look again for what the tables hold."""
        self._rows.refresh()

    def plan(self, query: Query, caller: Caller) -> Plan:
        """Check a query; see `make_plan`."""
        del caller  # rights come later
        return make_plan(query, self.catalogue())

    def count(self, plan: Plan) -> int | None:
        """Count the rows of an answer where that is cheap."""
        if plan.start is not None or plan.stop is not None or plan.added:
            return None
        rows = self._rows.view().count(plan.table, plan.ids)
        return rows if rows is None or plan.query.limit is None else min(rows, plan.query.limit)

    def answer(self, query: Query, caller: Caller) -> Answer:
        """Plan a query against one view of the store and begin its answer; nothing is read yet."""
        del caller
        view = self._rows.view()
        plan = make_plan(query, self._merge(view))
        schema = plan.schema
        return Answer(plan, schema, self._messages(plan, schema, view))

    def _merge(self, view: RowView) -> Catalogue:
        held, merged = self._merged
        if held is not view.columns:
            merged = self._catalogue.with_stored(view.columns)
            self._merged = (view.columns, merged)
        return merged

    def _messages(self, plan: Plan, schema: pa.Schema, view: RowView) -> Iterator[Message]:
        deadline = time.monotonic() + self._settings.limits.seconds
        tally = Tally(plan.ids, as_of=view.as_of)
        digest = Digest(schema) if plan.query.digest else None
        fingerprint = plan.query.fingerprint()
        compression = None if plan.query.compression == "none" else plan.query.compression
        place: str | None = None
        rows = _limited(self._selected(plan, view), plan.query.limit, tally)
        rows = self._counted(plan, rows, tally)
        if plan.cutouts:
            rows = self._stamped(plan, schema, view, rows, tally)
        elif self._work_columns(plan) is not plan.columns:
            rows = _shaped(rows, schema)
        for seq, piece in enumerate(cut(rows, plan.query.max_message_bytes, compression)):
            if time.monotonic() > deadline:
                message = f"the answer took longer than {self._settings.limits.seconds:g} s: ask for less at once"
                raise DeadlinePassed(message)
            place = cursor(fingerprint, piece)
            if digest:
                digest.update(piece.batch)
            yield Message(piece.batch, {"seq": seq, "cursor": place})
        tally.cursor = None if tally.complete else place
        empty = empty_batch(schema)
        room = plan.query.max_message_bytes - pa.ipc.get_record_batch_size(empty)
        for note in tally.notes(room):
            yield Message(empty, note)
        yield Message(
            empty,
            tally.record(room) | ({"digest": digest.hexdigest()} if digest else {}),
        )

    def _selected(self, plan: Plan, view: RowView) -> Iterator[Rows]:
        """Read the rows of all tables that the plan names, within its bounds."""
        columns = self._work_columns(plan)
        if plan.added:
            rows = with_upper_limits(plan, view, columns)
        else:
            rows = view.scan(Scan(table=plan.table, columns=columns, ids=plan.ids))
        return rows if plan.start is None and plan.stop is None else _within(rows, plan)

    def _work_columns(self, plan: Plan) -> tuple[Column, ...]:
        """Give the columns to read: those asked for, and those that the work needs."""
        needed = []
        if plan.start is not None or plan.stop is not None or plan.added:
            needed.append(plan.table.time)
        if plan.ids is None:
            needed.append(plan.table.id)
        if not needed:
            return plan.columns
        asked = {column.name for column in plan.columns}
        known = self._catalogue.known[plan.table.survey]
        return plan.columns + tuple(known[name] for name in needed if name not in asked)

    def _counted(self, plan: Plan, rows: Iterator[Rows], tally: Tally) -> Iterator[Rows]:
        for some in rows:
            tally.count(some, some.batch[plan.table.id] if plan.ids is None else None)
            yield some

    def _stamped(self, plan: Plan, schema: pa.Schema, view: RowView, rows: Iterator[Rows], tally: Tally) -> Iterator[Rows]:
        """Put the stamps beside the rows, a few rows at a time."""
        stamps_table = self._catalogue.table(str(plan.table.cutouts))
        most = self._settings.limits.cutouts
        read = 0
        for some in rows:
            for first in range(0, len(some.batch), STAMPED_ROWS):
                piece = part(some, first, STAMPED_ROWS)
                read += len(piece.batch) * len(plan.cutouts)
                if read > most:
                    raise TooLarge(
                        f"one answer has at most {most} stamps: ask for fewer objects at once", field="cutouts", value=read
                    )
                stamps = self._stamps(plan, stamps_table, view, piece, tally)
                cells = [piece.batch[column.name] for column in plan.columns] + stamps
                yield replace(piece, batch=pa.RecordBatch.from_arrays(cells, schema=schema))

    def _stamps(self, plan: Plan, table: Table, view: RowView, rows: Rows, tally: Tally) -> list[pa.Array]:
        own = _own_rows(plan, rows)
        stamps = self._read_stamps(plan, table, view, rows, own)
        tally.cutout_bytes_read += stamps.bytes_read
        made = []
        for kind in plan.query.cutouts:
            values = stamps.kinds[kind]
            tally.missing_cutouts += int(pc.sum(pc.and_(values.is_null(), pa.array(own))).as_py() or 0)
            if plan.query.cutout_format == "fits":
                values, reasons = unpacked(values, self._settings.cutouts.max_unpacked)
                tally.cutout_errors.update(reasons)
            made.append(values)
        return made

    def _read_stamps(
        self, plan: Plan, table: Table, view: RowView, rows: Rows, own: np.ndarray[Any, np.dtype[np.bool_]]
    ) -> Stamps:
        known = self._catalogue.known[table.survey]
        layout = self._catalogue.surveys[table.survey].alerts
        columns = tuple(known[name] for name in (str(table.path), table.id, layout.alert_id))
        found = list(view.scan(Scan(table=table, columns=columns, keys=rows.keys)))
        position = np.full(len(rows.batch), -1)
        if found:
            asked = np.concatenate([some.asked for some in found])
            position[asked] = np.arange(len(asked))
        position[~own] = -1
        places = pa.Table.from_batches([some.batch for some in found], schema=Scan(table=table, columns=columns).schema)
        places = places.take(pa.array(position, mask=position < 0)).combine_chunks()
        paths, object_ids, alert_ids = (places[column.name].combine_chunks() for column in columns)
        return self._cutouts.read(paths, object_ids, alert_ids, plan.query.cutouts)


def _limited(rows: Iterator[Rows], limit: int | None, tally: Tally) -> Iterator[Rows]:
    """Stop after `limit` rows, and note whether that left any behind."""
    left = limit
    for some in rows:
        if left is None or len(some.batch) <= left:
            left = None if left is None else left - len(some.batch)
            yield some
            continue
        tally.complete = False
        if left:
            yield part(some, 0, left)
        return


def _within(rows: Iterator[Rows], plan: Plan) -> Iterator[Rows]:
    for some in rows:
        times = some.batch[plan.table.time].to_numpy(zero_copy_only=False)
        mask = np.ones(len(times), dtype=bool)
        if plan.start is not None:
            mask &= times >= plan.start
        if plan.stop is not None:
            mask &= times < plan.stop
        if mask.all():
            yield some
        elif mask.any():
            yield Rows(some.batch.filter(pa.array(mask)), some.asked[mask], some.keys[mask])


def _shaped(rows: Iterator[Rows], schema: pa.Schema) -> Iterator[Rows]:
    """Bring rows that have more columns than asked for to the answer's schema."""
    for some in rows:
        cells = [some.batch[name] for name in schema.names]
        yield replace(some, batch=pa.RecordBatch.from_arrays(cells, schema=schema))


def _own_rows(plan: Plan, rows: Rows) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Say which rows are of the plan's own table, which are those that can have stamps."""
    limits = plan.table.upper_limits
    if not plan.added or limits is None:
        return np.ones(len(rows.batch), dtype=bool)
    own: np.ndarray[Any, np.dtype[np.bool_]] = pc.equal(rows.batch[limits.tag], limits.own).to_numpy(zero_copy_only=False)
    return own
