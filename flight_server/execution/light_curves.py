"""Light curves with further rows: an object's alerts and its upper limits, bad points or forced photometry, merged by time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from flight_server.catalog.columns import Projection
from flight_server.execution.reader import PlanReader
from flight_server.planning.plan import Plan
from flight_server.storage.row_keys import object_key
from flight_server.storage.scans import Rows

__all__ = ["with_added_rows"]

OBJECTS_TOGETHER = 128


def with_added_rows(reader: PlanReader, columns: Projection) -> Iterator[Rows]:
    """Read the rows of the plan's table and of its added tables, object by object, by time within an object.

    Begin with the object of the plan's cursor; the request index counts from there. All rows of an object are in one batch.
    Bad points at exactly the time of an alert of the same object are left out, as in the public service
    (fink-object-api, route `objects`, `withupperlim`). Columns that a table does not have are null.
    """
    first = 0
    for ids in _object_groups(reader, columns):
        reader.deadline.check()
        parts = list(_read(reader, columns, ids))
        if parts:
            merged = _in_order(reader.plan, parts)
            index = np.zeros_like(merged.request_index) if reader.objects is None else merged.request_index + first
            yield Rows(merged.batch, index, merged.keys)
        first += len(ids)


def _object_groups(reader: PlanReader, columns: Projection) -> Iterator[Sequence[str | int]]:
    """Yield the objects in groups of `OBJECTS_TOGETHER`."""
    table, after = reader.plan.table, reader.plan.after
    if reader.objects is not None:
        yield from (ids for _, ids in reader.objects.groups(OBJECTS_TOGETHER))
        return
    group: dict[str | int, None] = {}
    names = Projection([columns.by_name[table.id]])
    # the cursor's key may be that of an upper limit, so begin at the first key of its object
    begin = None if after is None else object_key(table, after.key)
    for rows in reader.scan(table, names, after=begin):
        for value in pa.compute.unique(rows.batch[0]).to_pylist():
            if value not in group and len(group) >= OBJECTS_TOGETHER:
                yield tuple(group)
                group = {}
            group[value] = None
    if group:
        yield tuple(group)


def _read(reader: PlanReader, columns: Projection, ids: Sequence[str | int]) -> Iterator[tuple[int, Rows]]:
    """Yield the rows of each table in the requested columns, with the rank of the table; the plan's own has rank 0."""
    added = reader.plan.shape.added
    if added is None:
        return
    for rank, source in enumerate(reader.plan.shape.sources):
        for rows in reader.scan(source.table, source.columns, ids=ids):
            length = len(rows)
            tags = pa.array(np.full(length, source.tag, dtype=object), pa.string())
            held = source.columns.by_name
            cells = [
                tags if c.name == added.tag else rows.batch[c.name] if c.name in held else pa.nulls(length, c.type)
                for c in columns
            ]
            yield rank, Rows(pa.RecordBatch.from_arrays(cells, schema=columns.schema), rows.request_index, rows.keys)


def _in_order(plan: Plan, parts: list[tuple[int, Rows]]) -> Rows:
    batch = pa.concat_batches([rows.batch for _, rows in parts])
    rank = np.concatenate([np.full(len(rows), rank) for rank, rows in parts])
    index = np.concatenate([rows.request_index for _, rows in parts])
    keys = np.concatenate([rows.keys for _, rows in parts])
    times = batch[plan.table.time].to_numpy(zero_copy_only=False)
    order = np.lexsort((rank, times, index))
    index, times, rank = index[order], times[order], rank[order]
    # within an object and time the alert comes first, so a point that it hides directly follows it
    hidden_names = plan.shape.added.hidden_by_own if plan.shape.added else ()
    hidden = [place for place, table in enumerate(plan.added, start=1) if table.name in hidden_names]
    same = (times[1:] == times[:-1]) & (index[1:] == index[:-1]) & (rank[:-1] == 0)
    twice = np.append(False, np.isin(rank[1:], hidden) & same)
    order = order[~twice]
    return Rows(batch.take(pa.array(order)), index[~twice], keys[order])
