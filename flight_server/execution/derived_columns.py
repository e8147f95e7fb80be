"""Derived columns beside rows that were read; those over objects see all rows of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.derive import DerivedColumn, derive
from flight_server.storage.protocols import Rows, joined, part

__all__ = ["Deriving"]


@dataclass(frozen=True, slots=True)
class Deriving:
    """What to derive of the rows of one answer.

    Parameters
    ----------
    columns
        The derived columns wanted, by name.
    object_id
        The column that says whose a row is.
    own
        The column, and its value, that marks the rows of which something is derived; None: all. The others get nulls.
    given
        What the query brings, such as the centre of its cone.
    """

    columns: Mapping[str, DerivedColumn]
    object_id: str
    own: tuple[str, str] | None
    given: Mapping[str, Any]

    @property
    def over_objects(self) -> bool:
        """Whether all rows of an object have to be read together."""
        return any(column.derivation.over == "object" for column in self.columns.values())

    def beside(self, rows: Iterator[Rows]) -> Iterator[Rows]:
        """Give the rows with the derived columns behind the others."""
        if self.over_objects:
            rows = self._whole_objects(rows)
        for some in rows:
            yield self._with_columns(some) if len(some.batch) else some

    def _with_columns(self, rows: Rows) -> Rows:
        batch = rows.batch
        place = None
        if self.own is not None:
            mine = pc.equal(batch[self.own[0]], self.own[1]).to_numpy(zero_copy_only=False)
            place = pa.array(np.where(mine, np.cumsum(mine) - 1, 0), mask=~mine)
            batch = batch.filter(pa.array(mine))
        made = derive(batch, self.columns, self.columns, self.given)
        cells = [values if place is None else values.take(place) for values in made.values()]
        fields = [self.columns[name].column.field() for name in made]
        schema = pa.schema([*rows.batch.schema, *fields])
        return replace(rows, batch=pa.RecordBatch.from_arrays([*rows.batch.columns, *cells], schema=schema))

    def _whole_objects(self, rows: Iterator[Rows]) -> Iterator[Rows]:
        """Join and cut rows so that an object's, which come one behind the other, stand in one batch."""
        waiting: list[Rows] = []
        for some in rows:
            if not len(some.batch):
                yield some
                continue
            last = _last_object(some.batch[self.object_id])
            if waiting and last == 0 and _first(some, self.object_id) == _first(waiting[-1], self.object_id, last=True):
                waiting.append(some)
                continue
            held = joined([*waiting, some])
            before = len(held.batch) - len(some.batch) + last
            if before:
                yield part(held, 0, before)
            waiting = [part(held, before, len(held.batch) - before)]
        if waiting:
            yield joined(waiting)


def _last_object(ids: pa.Array) -> int:
    """Give the first row of the last object."""
    changes: npt.NDArray[np.intp] = np.flatnonzero(pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False))
    return int(changes[-1]) + 1 if len(changes) else 0


def _first(rows: Rows, column: str, *, last: bool = False) -> object:
    return rows.batch[column][len(rows.batch) - 1 if last else 0].as_py()
