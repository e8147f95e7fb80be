"""Answers with a limit to more IDs than a server plans at once: part by part, until the limit is reached."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_client.endpoints import IDS_A_CALL, plan_part, read_endpoint, schema_of
from flight_client.records import Record
from flight_client.retries import Retries
from flight_server.protocol.errors import CursorMismatch
from flight_server.protocol.query import Query

__all__ = ["LimitedList"]

PREFIX = "list."  # no cursor of a server has a dot


@dataclass(frozen=True, slots=True)
class _Place:
    """A position in the answer: the index of an ID, how many of its rows are before, and their digest."""

    index: int = 0
    rows: int = 0
    digest: str = ""

    def cursor(self, fingerprint: str, rows: Sequence[pa.RecordBatch]) -> str:
        """Return the cursor text, bound to the query with this fingerprint; `rows` are those of the digest."""
        content = json.dumps([fingerprint, self.index, self.rows, _digest(rows)]).encode()
        return PREFIX + base64.urlsafe_b64encode(content).decode()

    @classmethod
    def read(cls, text: str, fingerprint: str, objects: int) -> _Place:
        """Read a cursor.

        Raises
        ------
        CursorMismatch
            It is no cursor, or a cursor of another query.
        """
        try:
            content = base64.b64decode(text.removeprefix(PREFIX), altchars=b"-_", validate=True)
            owner, index, rows, digest = json.loads(content)
            known = owner == fingerprint and 0 <= index < objects and rows >= 0
        except (ValueError, TypeError):
            known = False
        if not known or not text.startswith(PREFIX):
            message = (
                "resume_after is no cursor of this query: give the query of that answer, and change only resume_after and as_of"
            )
            raise CursorMismatch(message, field="resume_after", value=text)
        return cls(index, rows, digest)


class LimitedList:
    """One reading of the answer to a query with a limit and a long list of IDs.

    The parts are read one behind the other, each with the limit that is left, so that no more is read than returned. Whether
    rows follow behind the limit is asked of the other parts, until one has a row.

    Parameters
    ----------
    url
        The server.
    query
        The query.
    record
        Its completeness record; it is finished with the last batch.
    retries
        How failed calls are retried.
    """

    def __init__(self, url: str, query: Query, record: Record, retries: Retries | None) -> None:
        self.schema = schema_of(url, query)
        self._url = url
        self._ids: Sequence[str | int] = query.ids or ()
        self._fingerprint = query.fingerprint()
        self._record = record
        self._retries = retries or Retries()
        self._rows, self._objects = query.limit, query.limit_objects  # that are left
        nested = replace(query, columns=None, cutouts=(), cutout_format="bytes", layout="nested")
        self._id = str(schema_of(url, nested).names[0])
        # positions are counted by the ID, so it is read even if it is not wanted
        extra = () if query.columns is None or self._id in self.schema.names else (self._id,)
        columns = None if query.columns is None else (*query.columns, *extra)
        self._query = replace(query, columns=columns, resume_after=None, digest=False)
        self._indices = {str(name): number for number, name in reversed(list(enumerate(self._ids)))}
        self._begin = _Place()
        if query.resume_after is not None:
            self._begin = _Place.read(query.resume_after, self._fingerprint, len(self._ids))
        self._end = self._begin
        self._last: list[pa.RecordBatch] = []  # the rows before the end of the object that the end is in

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows until the limit.

        Raises
        ------
        CursorMismatch
            The rows of the cursor's object have changed.
        AlertflightError
            What the server raised, as the same class.
        """
        if self._begin.rows:
            yield from self._read_rest()
        for first in range(self._begin.index + bool(self._begin.rows), len(self._ids), IDS_A_CALL):
            if not self._record.complete:
                break
            part = replace(self._query, ids=tuple(self._ids[first : first + IDS_A_CALL]))
            if self._rows == 0 or self._objects == 0:
                self._look_on(part, first)
            else:
                yield from self._read(part, first)
        if self._record.complete:
            self._look_back()
        else:
            self._record.missing_ids.clear()  # those behind the limit are unknown
            self._record.cursor = self._end.cursor(self._fingerprint, self._last)

    def _read(self, part: Query, first: int) -> Iterator[pa.RecordBatch]:
        """Read a part up to what is left of the limits."""
        found = Record()
        begun: set[object] = set()
        rows = 0
        for batch in self._batches(replace(part, limit=self._rows, limit_objects=self._objects), found):
            rows += len(batch)
            begun.update(pc.unique(batch[self._id]).to_pylist())
            self._advance(batch)
            yield batch.select(self.schema.names)
        if found.complete:
            self._end, self._last = _Place(first + len(part.ids or ())), []
        self._add(found, rows, len(begun))

    def _read_rest(self) -> Iterator[pa.RecordBatch]:
        """Read the rest of the object in which the page before ended."""
        before = self._begin.rows
        limit = None if self._rows is None else self._rows + before
        part = replace(self._query, ids=(self._ids[self._begin.index],), limit=limit, limit_objects=None)
        found = Record()
        batches = list(self._batches(part, found))
        whole = pa.Table.from_batches(batches) if batches else self.schema.empty_table()
        self._last = whole.slice(0, before).to_batches()
        if len(whole) < before or _digest(self._last) != self._begin.digest:
            message = (
                f"the rows of {self._ids[self._begin.index]} before the cursor have changed: begin again without resume_after"
            )
            raise CursorMismatch(message, field="resume_after")
        if part.cutouts:
            self._subtract_cutouts(found, replace(part, limit=before))
        rest = whole.slice(before).to_batches()
        for batch in rest:
            self._advance(batch)
            yield batch.select(self.schema.names)
        found.rows -= before
        found.objects = 1 if found.rows else 0
        self._add(found, found.rows, found.objects)

    def _subtract_cutouts(self, record: Record, part: Query) -> None:
        """Subtract the counts of cutouts before the cursor from a record."""
        before = Record()
        for _ in self._batches(part, before):
            pass
        record.missing_cutouts -= before.missing_cutouts
        record.unexplained_cutouts -= before.unexplained_cutouts
        record.cutout_errors -= before.cutout_errors
        record.failed_cutouts = [failed for failed in record.failed_cutouts if failed not in before.failed_cutouts]

    def _look_on(self, part: Query, first: int) -> None:
        """Note whether a part behind the limit has rows."""
        found = Record()
        for _ in self._batches(self._ids_only(part, limit=1), found):
            pass
        if found.rows:
            self._record.complete = False
            self._end = _Place(first)
        else:
            self._record.add(replace(found, cursor=None))

    def _look_back(self) -> None:
        """Add the missing IDs before the cursor, which are part of the record of the last page."""
        missing: list[str | int] = []
        for first in range(0, self._begin.index, IDS_A_CALL):
            ids = tuple(self._ids[first : min(first + IDS_A_CALL, self._begin.index)])
            found = Record()
            for _ in self._batches(self._ids_only(replace(self._query, ids=ids)), found):
                pass
            missing += found.missing_ids
        self._record.missing_ids[:0] = missing

    def _ids_only(self, part: Query, limit: int | None = None) -> Query:
        return replace(
            part,
            columns=(self._id,),
            cutouts=(),
            cutout_format="bytes",
            layout="rows",
            limit=limit,
            limit_objects=None,
        )

    def _batches(self, part: Query, record: Record) -> Iterator[pa.RecordBatch]:
        for endpoint in plan_part(self._url, part, self._retries).endpoints:
            for piece in read_endpoint(endpoint, record=record, retries=self._retries):
                yield piece.batch

    def _advance(self, batch: pa.RecordBatch) -> None:
        """Move the end behind a batch."""
        ids = batch[self._id]
        begin = int(np.argmax(pc.equal(ids, ids[-1]).to_numpy(zero_copy_only=False)))
        index = self._indices[str(ids[-1].as_py())]
        if self._query.layout == "nested":
            self._end = _Place(index + 1)
            return
        if begin or index != self._end.index:
            self._last = []
        self._last.append(batch.slice(begin))
        self._end = _Place(index, sum(map(len, self._last)))

    def _add(self, found: Record, rows: int, objects: int) -> None:
        self._rows = None if self._rows is None else self._rows - rows
        self._objects = None if self._objects is None else self._objects - objects
        self._record.add(replace(found, cursor=None))


def _digest(batches: Sequence[pa.RecordBatch]) -> str:
    """Return a digest of rows, without cutouts."""
    if not batches:
        return ""
    table = pa.Table.from_batches(batches)
    names = [name for name in table.column_names if not name.startswith("b:cutout")]
    return hashlib.sha256(repr(table.select(names).to_pylist()).encode()).hexdigest()[:32]
