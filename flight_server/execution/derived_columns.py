"""The stage that appends derived columns; those over objects get all rows of an object at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.derive import derive
from flight_server.planning.plan import Plan
from flight_server.storage.scans import Rows

__all__ = ["derive_columns"]


def derive_columns(rows: Iterator[Rows], plan: Plan) -> Iterator[Rows]:
    """Append the plan's derived columns.

    Rows of added tables, such as upper limits, get nulls.
    """
    columns, cone = plan.shape.derived, plan.query.cone
    if any(column.derivation.over == "object" for column in columns.values()):
        rows = _whole_objects(rows, plan.table.id)
    # inputs from the query, such as the centre of its cone
    given: dict[str, Any] = {} if cone is None else {"centre": (cone.ra, cone.dec)}
    for some in rows:
        batch, place = some.batch, None
        if plan.shape.added is not None:
            own = pc.equal(batch[plan.shape.added.tag], plan.shape.added.own).to_numpy(zero_copy_only=False)
            place = pa.array(np.where(own, np.cumsum(own) - 1, 0), mask=~own)
            batch = batch.filter(pa.array(own))
        made = derive(batch, columns, columns, given)
        cells = [values if place is None else values.take(place) for values in made.values()]
        schema = pa.schema([*some.batch.schema, *(columns[name].column.field() for name in made)])
        yield replace(some, batch=pa.RecordBatch.from_arrays([*some.batch.columns, *cells], schema=schema))


def _whole_objects(rows: Iterator[Rows], object_id: str) -> Iterator[Rows]:
    """Join and cut rows so that all rows of an object, which are consecutive, are in one batch."""
    waiting: list[Rows] = []
    for some in rows:
        last = _last_object(some.batch[object_id])
        if waiting and last == 0 and some.batch[object_id][0].as_py() == waiting[-1].batch[object_id][-1].as_py():
            waiting.append(some)
            continue
        held = Rows.concat([*waiting, some])
        before = len(held) - len(some) + last
        if before:
            yield held.slice(0, before)
        waiting = [held.slice(before, len(held) - before)]
    if waiting:
        yield Rows.concat(waiting)


def _last_object(ids: pa.Array) -> int:
    """Return the index of the first row of the last object."""
    changes: npt.NDArray[np.intp] = np.flatnonzero(pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False))
    return int(changes[-1]) + 1 if len(changes) else 0
