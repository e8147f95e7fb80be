"""An object's whole light curve: its alerts, its bad points and its upper limits, in order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from flight_server.catalogue import Column
from flight_server.plan import Plan
from flight_server.storage.protocols import Rows, RowView, Scan

__all__ = ["with_upper_limits"]

OBJECTS_TOGETHER = 128


def with_upper_limits(plan: Plan, view: RowView, columns: tuple[Column, ...]) -> Iterator[Rows]:
    """Read the rows of the plan's table and of those added to it, object by object, by time within.

    Bad points at the very time of an alert of the same object are left out, as the public service does
    (fink-object-api, route `objects`, `withupperlim`). Cells that a table does not have are null.
    """
    first = 0
    for ids in _object_groups(plan, view, columns):
        parts = list(_read(plan, view, columns, ids))
        if parts:
            merged = _in_order(plan, parts)
            yield Rows(merged.batch, merged.asked + first, merged.keys)
        first += len(ids) if plan.ids is not None else 0


def _object_groups(plan: Plan, view: RowView, columns: tuple[Column, ...]) -> Iterator[Sequence[str | int]]:
    if plan.ids is not None:
        for first in range(0, len(plan.ids), OBJECTS_TOGETHER):
            yield plan.ids[first : first + OBJECTS_TOGETHER]
        return
    group: dict[str | int, None] = {}
    names = tuple(column for column in columns if column.name == plan.table.id)
    for rows in view.scan(Scan(table=plan.table, columns=names)):
        for value in pa.compute.unique(rows.batch[0]).to_pylist():
            if value not in group and len(group) >= OBJECTS_TOGETHER:
                yield tuple(group)
                group = {}
            group[value] = None
    if group:
        yield tuple(group)


def _read(plan: Plan, view: RowView, columns: tuple[Column, ...], ids: Sequence[str | int]) -> Iterator[tuple[int, Rows]]:
    """Read each table's rows in the columns wanted, with the rank of the table; the plan's own has rank 0."""
    limits = plan.table.upper_limits
    if limits is None:
        return
    schema = pa.schema([column.field() for column in columns])
    for rank, (table, tag) in enumerate(((plan.table, limits.own), *plan.added)):
        having = tuple(c for c in columns if c.name != limits.tag and (table.columns is None or c.name in table.columns))
        for rows in view.scan(Scan(table=table, columns=having, ids=ids)):
            length = len(rows.batch)
            held = set(rows.batch.schema.names)
            tags = pa.array(np.full(length, tag, dtype=object), pa.string())
            cells = [
                tags if c.name == limits.tag else rows.batch[c.name] if c.name in held else pa.nulls(length, c.type)
                for c in columns
            ]
            yield rank, Rows(pa.RecordBatch.from_arrays(cells, schema=schema), rows.asked, rows.keys)


def _in_order(plan: Plan, parts: list[tuple[int, Rows]]) -> Rows:
    batch = pa.concat_batches([rows.batch for _, rows in parts])
    rank = np.concatenate([np.full(len(rows.batch), rank) for rank, rows in parts])
    asked = np.concatenate([rows.asked for _, rows in parts])
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
