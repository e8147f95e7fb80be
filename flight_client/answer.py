"""The answer to a query: read lazily, and as often as wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flight_client import frames
from flight_client.endpoints import IDS_A_CALL, Endpoint, Plan, check_types, plan, plans, schema_of
from flight_client.parallel import Ahead, read_endpoints
from flight_client.progress import Progress
from flight_client.records import Record
from flight_client.retries import Retries
from flight_server.protocol.errors import CorruptData
from flight_server.protocol.query import Query

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from astropy.table import QTable
    from nested_pandas import NestedFrame

__all__ = ["Answer", "MissingObjects"]

SHOWN = 5


class MissingObjects(LookupError):
    """Requested objects have no rows; `ids` holds their IDs."""

    def __init__(self, ids: list[str | int]) -> None:
        self.ids = ids
        shown = ", ".join(map(str, ids[:SHOWN])) + (", ..." if len(ids) > SHOWN else "")
        super().__init__(f"no rows for {len(ids)} of the IDs: {shown}")

    def __reduce__(self) -> tuple[type[MissingObjects], tuple[list[str | int]]]:
        return type(self), (self.ids,)


class Answer:
    """The rows that a query selects.

    Each reading method reads the rows again, from all servers that hold them. `record` and `missing` describe the last
    read that finished.

    Parameters
    ----------
    url
        The server.
    query
        The query.
    ahead
        How many endpoints are read in parallel, and how many bytes are read ahead.
    retries
        How failed calls are retried.
    progress
        Whether to draw a progress line; None: on a terminal.
    strict
        Whether objects without rows raise MissingObjects at the end of a read.
    """

    def __init__(
        self,
        url: str,
        query: Query,
        ahead: Ahead,
        retries: Retries | None = None,
        progress: bool | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self.url = url
        self.query = query
        self.record: Record | None = None
        self._ahead = ahead
        self._retries = retries
        self._progress = progress
        self._strict = strict
        self._schema: pa.Schema | None = None

    def __repr__(self) -> str:
        if self.query.ids is not None:
            which = _count(len(self.query.ids), "object")
        else:
            which = ", ".join(self.query.selections) or "a time"
        columns = "all columns" if self.query.columns is None else _count(len(self.query.columns), "column")
        read = "not read yet" if self.record is None else f"{self.record.rows:,} rows"
        return f"<Answer: {which} of {self.query.table}, {columns}, {read}>"

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows, with units and descriptions in the metadata of the fields."""
        if self._schema is None:
            ids = None if self.query.ids is None else self.query.ids[:1]  # any have the same schema
            self._schema = schema_of(self.url, replace(self.query, ids=ids))
        return self._schema

    @property
    def missing(self) -> list[str | int]:
        """The requested IDs without rows.

        Raises
        ------
        RuntimeError
            The answer has not been read yet.
        """
        if self.record is None:
            raise RuntimeError(
                "read the answer first, for example with to_arrow() or to_pandas(): only then is it known which IDs are missing"
            )
        return self.record.missing_ids

    def plan(self) -> Plan:
        """Return the plan of the answer: endpoints that can be read on many machines."""
        return plan(self.url, self.query, self._retries)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Read the rows, batch by batch, in the order of the query.

        Raises
        ------
        CorruptData
            The number of rows is not that of the completeness records.
        MissingObjects
            At the end, if objects without rows raise.
        AlertflightError
            What a server raised, as the same class.
        """
        record = Record()
        parts = plans(self.url, self.query, self._retries)
        first = next(parts)
        self._schema = first.schema
        drawn = Progress(self._progress, self._parts(first))
        rows = 0
        try:
            for batch in read_endpoints(_endpoints(first, parts), record, self._ahead, self._retries):
                check_types(first.schema, batch.schema)
                rows += len(batch)
                drawn.show(rows, record.parts)
                yield batch
        finally:
            drawn.end()
        if record.rows != rows:
            raise CorruptData(f"received {rows} rows, but the completeness records say {record.rows}")
        self.record = record
        if self._strict and record.missing_ids:
            raise MissingObjects(record.missing_ids)

    def read(self, endpoints: Iterable[Endpoint], record: Record | None = None) -> Iterator[pa.RecordBatch]:
        """Read endpoints of the plan, in the order given.

        Parameters
        ----------
        endpoints
            The endpoints.
        record
            The completeness record of each endpoint is added to it after the last batch of the endpoint.

        Raises
        ------
        CorruptData, MissingObjects, AlertflightError
            As in `__iter__`.
        """
        record = Record() if record is None else record
        rows = record.rows
        for batch in read_endpoints(iter(endpoints), record, self._ahead, self._retries):
            rows += len(batch)
            yield batch
        if record.rows != rows:
            raise CorruptData(f"received {rows} rows, but the completeness records say {record.rows}")
        if self._strict and record.missing_ids:
            raise MissingObjects(record.missing_ids)

    def reader(self) -> pa.RecordBatchReader:
        """Return a RecordBatchReader of the rows, for DuckDB, Polars, Parquet writers and others."""
        return pa.RecordBatchReader.from_batches(self.schema, iter(self))

    def to_arrow(self) -> pa.Table:
        """Read all rows into an Arrow table."""
        batches = list(self)
        return pa.Table.from_batches(batches, schema=self.schema)

    def to_pandas(self) -> pd.DataFrame:
        """Read all rows into a pandas DataFrame with Arrow types: IDs stay exact, and integers with nulls stay integers."""
        return frames.to_pandas(self.to_arrow())

    def to_polars(self) -> pl.DataFrame:
        """Read all rows into a Polars DataFrame; needs the extra `polars`."""
        return frames.to_polars(self.to_arrow())

    def to_nested(self) -> NestedFrame:
        """Read all rows into a NestedFrame, one row per object; needs the extra `nested`."""
        return frames.to_nested(self.nested().to_arrow())

    def to_astropy(self) -> QTable:
        """Read all rows into a QTable: columns with units, times as Time in their scale, nulls masked."""
        return frames.to_astropy(self.to_arrow())

    def nested(self) -> Answer:
        """Return the same answer in the layout `nested`: one row per object, with its light curve as a list."""
        if self.query.layout == "nested":
            return self
        return self.changed(layout="nested")

    def changed(self, **fields: Any) -> Answer:
        """Return the answer to the same query with some fields changed."""
        query = replace(self.query, **fields)
        return Answer(self.url, query, self._ahead, self._retries, self._progress, strict=self._strict)

    def _parts(self, first: Plan) -> int | None:
        ids = len(self.query.ids or ())
        planned = len(first.endpoints)
        return planned if ids <= IDS_A_CALL else -(-ids * planned // IDS_A_CALL)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _endpoints(first: Plan, rest: Iterator[Plan]) -> Iterator[Endpoint]:
    yield from first.endpoints
    for part in rest:
        yield from part.endpoints
