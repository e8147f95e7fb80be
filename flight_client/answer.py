"""The answer to a query: read lazily, and as often as wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flight_client import frames
from flight_client.endpoints import IDS_A_CALL, Endpoint, Plan, check_types, is_limited_list, plan, plans, schema_of
from flight_client.limited_lists import LimitedList
from flight_client.parallel import Ahead, read_endpoints
from flight_client.progress import Progress
from flight_client.records import Record
from flight_client.retries import Retries
from flight_client.scalars import plain_scalar
from flight_client.tabular import Tabular
from flight_server.protocol.errors import CorruptData
from flight_server.protocol.query import Query

if TYPE_CHECKING:
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


class Answer(Tabular):
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
    notes
        What is to know about the input, such as the column that IDs are from and rows that were skipped.
    skipped
        The rows of the input that were skipped.
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
        notes: tuple[str, ...] = (),
        skipped: tuple[int, ...] = (),
    ) -> None:
        self.url = url
        self.query = query
        self.notes = notes
        self.record: Record | None = None
        self._ahead = ahead
        self._retries = retries
        self._progress = progress
        self._strict = strict
        self._skipped = skipped
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
            self._schema = schema_of(self.url, self.query)
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
        record = Record(skipped=list(self._skipped))
        if is_limited_list(self.query):
            limited = LimitedList(self.url, self.query, record, self._retries)
            self._schema, drawn, batches = limited.schema, Progress(self._progress), limited.batches()
        else:
            parts = plans(self.url, self.query, self._retries)
            first = next(parts)
            self._schema, drawn = first.schema, Progress(self._progress, self._parts(first))
            batches = read_endpoints(_endpoints(first, parts), record, self._ahead, self._retries)
        rows = 0
        try:
            for batch in batches:
                check_types(self._schema, batch.schema)
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

    def to_nested(self) -> NestedFrame:
        """Read all rows into a NestedFrame, one row per object; needs the extra `nested`."""
        return frames.to_nested(self.nested().to_arrow())

    def nested(self) -> Answer:
        """Return the same answer in the layout `nested`: one row per object, with its light curve as a list."""
        if self.query.layout == "nested":
            return self
        return self.changed(layout="nested")

    def changed(self, **fields: Any) -> Answer:
        """Return the answer to the same query with some fields changed."""
        plain = {name: plain_scalar(value) for name, value in fields.items()}
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
        query = replace(self.query, **plain)
        return Answer(
            self.url,
            query,
            self._ahead,
            self._retries,
            self._progress,
            strict=self._strict,
            notes=self.notes,
            skipped=self._skipped,
        )

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
