"""Scans of a store, and the rows that they return."""

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
    """A range of row keys with a common prefix, given by column values instead of key text.

    Parameters
    ----------
    values
        The values of the first columns of the key, in order; may be empty.
    last
        Another value of the last of these columns, which sorts behind that in `values`: the range is from the one to the
        other.
    prefix
        A prefix of the text of the next column.
    start, stop
        Bounds on the next column, if it is a time and there is no `last`. Some rows slightly outside of the bounds may be
        included, since times as text do not sort exactly like their values.
    """

    values: tuple[str | int, ...] = ()
    last: str | int | None = None
    prefix: str = ""
    start: float | None = None
    stop: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A scan: which rows of a table, and which of their columns.

    Parameters
    ----------
    table
        The table.
    columns
        The requested columns, in order.
    ids
        Objects in the requested order; without `ids`, `keys` and `spans` the scan is of the whole table.
    keys
        Exact row keys from an earlier scan, in the requested order.
    spans
        Ranges of rows in the requested order; a span with an impossible value has no rows.
    reverse
        Descending key order; only with a single span.
    after
        Only rows with keys after this one; only for a whole table or spans.
    before
        Only rows with keys before this one; only for a whole table or spans.
    within
        Only rows with first <= key < stop, where an empty stop is an open end; only for a whole table or spans. If row keys
        begin with the object ID, an object is inside as a whole or not at all, depending on the prefix of its keys.
    as_of
        Only rows written until this time, ms since 1970; None for all rows of the view.
    deadline
        The deadline of the scan; stores that wait for rows check it regularly.
    """

    table: Table
    columns: Projection
    ids: Sequence[str | int] | None = None
    keys: npt.NDArray[np.bytes_] | None = None
    spans: Sequence[Span] | None = None
    reverse: bool = False
    after: bytes | None = None
    before: bytes | None = None
    within: tuple[bytes, bytes] | None = None
    as_of: int | None = None
    deadline: Deadline = NO_DEADLINE

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the record batches."""
        return self.columns.schema


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a scan, one or more, ordered by request index, then by row key.

    Parameters
    ----------
    batch
        The record batch, n rows.
    request_index
        For each row the index of the requested ID, key or span that selects it, int64 of shape (n,); 0 in a whole table.
    keys
        The row keys, bytes of shape (n,).
    """

    batch: pa.RecordBatch
    request_index: npt.NDArray[np.int64]
    keys: npt.NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.keys)

    def slice(self, first: int, length: int) -> Rows:
        """Return a range of the rows, without copying."""
        last = first + length
        return Rows(self.batch.slice(first, length), self.request_index[first:last], self.keys[first:last])

    def take(self, order: npt.NDArray[np.intp]) -> Rows:
        """Return the rows at these indices, in this order."""
        return Rows(self.batch.take(pa.array(order)), self.request_index[order], self.keys[order])

    def filter(self, mask: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows where `mask`, of shape (n,), is true."""
        return Rows(self.batch.filter(pa.array(mask)), self.request_index[mask], self.keys[mask])

    @staticmethod
    def concat(parts: Sequence[Rows]) -> Rows:
        """Concatenate rows into one batch; a single part is returned as it is."""
        if len(parts) == 1:
            return parts[0]
        batch = pa.concat_batches([part.batch for part in parts])
        request_index = np.concatenate([part.request_index for part in parts])
        return Rows(batch, request_index, np.concatenate([part.keys for part in parts]))

    @staticmethod
    def none(schema: pa.Schema) -> Rows:
        """Return zero rows of a schema."""
        return Rows(empty_batch(schema), np.zeros(0, dtype=np.int64), np.zeros(0, dtype="S1"))
