"""Scans and their rows: what is asked of a store, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.columns import Projection, empty_batch
from flight_server.catalog.declarations import Table
from flight_server.protocol.deadlines import NO_DEADLINE, Deadline

__all__ = ["Rows", "Scan", "Span"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Rows whose keys begin alike, told by the values that stand in the keys, not by their text.

    Parameters
    ----------
    values
        What the first columns of the key are, in their order; maybe none.
    prefix
        What the text of the column behind these begins with.
    start, stop
        Bounds on the column behind these, a time. Rows a little outside of them may come too: the text of a time in a
        key does not sort quite as its value does.
    """

    values: tuple[str | int, ...] = ()
    prefix: str = ""
    start: float | None = None
    stop: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Which rows of a table, and which of their cells.

    Parameters
    ----------
    table
        The table.
    columns
        The columns wanted, in this order.
    ids
        Objects in the order wanted; None with no `keys` and no `spans` means the whole table.
    keys
        Exact row keys in the order wanted, as an earlier scan gave them.
    spans
        Ranges of rows in the order wanted; those with an impossible value have none.
    reverse
        Of the one span that is given, the last key first.
    after
        Of a whole table or of spans only the rows with keys behind this one.
    within
        Of a whole table or of spans only the rows with first <= key < stop; an empty stop is an open end. Where a table
        is kept by object, an object lies in it whole or not at all: by where its keys begin.
    as_of
        Only what was written until then, ms since 1970; None: all that the view holds.
    deadline
        How long the scan may go on. A store that has to wait for its rows checks it now and then.
    """

    table: Table
    columns: Projection
    ids: Sequence[str | int] | None = None
    keys: npt.NDArray[np.bytes_] | None = None
    spans: Sequence[Span] | None = None
    reverse: bool = False
    after: bytes | None = None
    within: tuple[bytes, bytes] | None = None
    as_of: int | None = None
    deadline: Deadline = NO_DEADLINE

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the batches that come."""
        return self.columns.schema


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a scan, one or more, in its order: by requested item, and by row key within one.

    Parameters
    ----------
    batch
        The cells, n rows.
    request_index
        For each row the index of the requested ID, key or span that selects it, int64 of shape (n,); zeros in a whole table.
    keys
        The row keys, bytes of shape (n,).
    """

    batch: pa.RecordBatch
    request_index: npt.NDArray[np.int64]
    keys: npt.NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.keys)

    def slice(self, first: int, length: int) -> Rows:
        """Return some of the rows, without copying."""
        last = first + length
        return Rows(self.batch.slice(first, length), self.request_index[first:last], self.keys[first:last])

    def take(self, order: npt.NDArray[np.intp]) -> Rows:
        """Return the rows at these places, in their order."""
        return Rows(self.batch.take(pa.array(order)), self.request_index[order], self.keys[order])

    def filter(self, mask: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows where `mask`, of shape (n,), is true."""
        return Rows(self.batch.filter(pa.array(mask)), self.request_index[mask], self.keys[mask])

    @staticmethod
    def concat(parts: Sequence[Rows]) -> Rows:
        """Join rows into one batch; a single part stays as it is."""
        if len(parts) == 1:
            return parts[0]
        batch = pa.concat_batches([part.batch for part in parts])
        request_index = np.concatenate([part.request_index for part in parts])
        return Rows(batch, request_index, np.concatenate([part.keys for part in parts]))

    @staticmethod
    def none(schema: pa.Schema) -> Rows:
        """Return no rows, in a schema: what `concat` of no parts would be."""
        return Rows(empty_batch(schema), np.zeros(0, dtype=np.int64), np.zeros(0, dtype="S1"))
