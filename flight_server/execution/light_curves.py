"""An object's whole light curve: its alerts, its bad points and its upper limits, in order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from flight_server.catalog.catalog import Column
from flight_server.execution.reader import Reading
from flight_server.planning.plan import Plan
from flight_server.storage.keys import key_expression
from flight_server.storage.protocols import NOTHING_YET, Rows

__all__ = ["with_upper_limits"]

OBJECTS_TOGETHER = 128


def with_upper_limits(reading: Reading, columns: tuple[Column, ...]) -> Iterator[Rows]:
    """Read the rows of the plan's table and of those added to it, object by object, by time within.

    It begins with the object of the plan's cursor; `asked` counts from that one on. An object comes in one piece.
    Bad points at the very time of an alert of the same object are left out, as the public service does
    (fink-object-api, route `objects`, `withupperlim`). Cells that a table does not have are null.
    """
    first = 0
    for ids in _object_groups(reading, columns):
        parts: list[tuple[int, Rows]] = []
        for rank, rows in _read(reading, columns, ids):
            if len(rows.batch):
                parts.append((rank, rows))
            else:
                yield rows
        if parts:
            merged = _in_order(reading.plan, parts)
            asked = np.zeros_like(merged.request_index) if reading.ids is None else merged.request_index + first
            yield Rows(merged.batch, asked, merged.keys)
        elif not ids:
            yield NOTHING_YET
        first += len(ids)


def _object_groups(reading: Reading, columns: tuple[Column, ...]) -> Iterator[Sequence[str | int]]:
    """Give the objects in groups; an empty one while the store is still looking for them."""
    table, after = reading.plan.table, reading.plan.after
    if (ids := reading.ids) is not None:
        for first in range(0, len(ids), OBJECTS_TOGETHER):
            yield ids[first : first + OBJECTS_TOGETHER]
        return
    group: dict[str | int, None] = {}
    names = tuple(column for column in columns if column.name == table.id)
    # an upper limit's key may come before those of the object's alerts, so all alerts of the object are looked at
    begin = None if after is None else key_expression(table.key).first_part(after.key)
    for rows in reading.scan(table, names, after=begin):
        if not len(rows.batch):
            yield ()
            continue
        for value in pa.compute.unique(rows.batch[0]).to_pylist():
            if value not in group and len(group) >= OBJECTS_TOGETHER:
                yield tuple(group)
                group = {}
            group[value] = None
    if group:
        yield tuple(group)


def _read(reading: Reading, columns: tuple[Column, ...], ids: Sequence[str | int]) -> Iterator[tuple[int, Rows]]:
    """Read each table's rows in the columns wanted, with the rank of the table; the plan's own has rank 0."""
    plan = reading.plan
    limits = plan.table.upper_limits
    if limits is None or not ids:
        return
    schema = pa.schema([column.field() for column in columns])
    for rank, (table, tag) in enumerate(((plan.table, limits.own), *plan.added)):
        having = tuple(c for c in columns if c.name != limits.tag and (table.columns is None or c.name in table.columns))
        for rows in reading.scan(table, having, ids=ids):
            length = len(rows.batch)
            if not length:
                yield rank, rows
                continue
            held = set(rows.batch.schema.names)
            tags = pa.array(np.full(length, tag, dtype=object), pa.string())
            cells = [
                tags if c.name == limits.tag else rows.batch[c.name] if c.name in held else pa.nulls(length, c.type)
                for c in columns
            ]
            yield rank, Rows(pa.RecordBatch.from_arrays(cells, schema=schema), rows.request_index, rows.keys)


def _in_order(plan: Plan, parts: list[tuple[int, Rows]]) -> Rows:
    batch = pa.concat_batches([rows.batch for _, rows in parts])
    rank = np.concatenate([np.full(len(rows.batch), rank) for rank, rows in parts])
    asked = np.concatenate([rows.request_index for _, rows in parts])
    keys = np.concatenate([rows.keys for _, rows in parts])
    times = batch[plan.table.time].to_numpy(zero_copy_only=False)
    order = np.lexsort((rank, times, asked))
    asked, times, rank = asked[order], times[order], rank[order]
    # within one object and time the alert comes first, so a point that it hides is right behind it
    hidden_names = plan.table.upper_limits.hidden_by_own if plan.table.upper_limits else ()
    hidden = [place for place, (table, _) in enumerate(plan.added, start=1) if table.name in hidden_names]
    same = (times[1:] == times[:-1]) & (asked[1:] == asked[:-1]) & (rank[:-1] == 0)
    twice = np.append(False, np.isin(rank[1:], hidden) & same)
    order = order[~twice]
    return Rows(batch.take(pa.array(order)), asked[~twice], keys[order])
