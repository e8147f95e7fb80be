"""Estimates of answers, from counts and a sample of the rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from flight_server.execution.archive import Archive
from flight_server.planning.plan import Plan
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query

__all__ = ["Estimate", "estimate"]

SAMPLE_OBJECTS = 20
SAMPLE_ROWS = 1000
SAMPLE_CUTOUTS = 20  # rows, if the answer has cutouts


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected size of an answer.

    Parameters
    ----------
    rows
        The number of rows; None if a count is not cheap.
    objects
        The number of requested objects, an upper bound; None if the query has no IDs.
    endpoints
        The number of endpoints that `get_flight_info` returns.
    bytes
        The approximate size of the record batches in memory; None if a sample cannot tell.
    columns
        The number of columns.
    exact
        Whether the whole answer was read, because it is small: then all numbers are exact.
    """

    rows: int | None
    objects: int | None
    endpoints: int
    bytes: int | None
    columns: int
    exact: bool


def estimate(archive: Archive, query: Query, caller: Caller) -> Estimate:
    """Estimate the answer to a query.

    Raises
    ------
    AlertflightError
        The errors of the query itself.
    """
    plan = archive.plan(query, caller)
    rows = archive.count(plan)
    requested = None if plan.ids is None else min(len(plan.ids), query.limit_objects or len(plan.ids))
    counted = Estimate(rows, requested, len(archive.endpoints(plan)[0]), None, len(plan.schema), exact=False)
    part = _part(plan, rows)
    if part is None:
        return counted
    sample = _Sample.of(archive, part, caller)
    if sample.whole(plan, part):
        return replace(counted, rows=sample.rows, objects=sample.objects, bytes=sample.size, exact=True)
    return replace(counted, bytes=sample.scaled(plan, part, rows))


@dataclass(frozen=True, slots=True)
class _Sample:
    """The answer to a part of a query: bytes of the batches, and counts and completeness of its record."""

    size: int
    rows: int
    objects: int
    complete: bool

    @classmethod
    def of(cls, archive: Archive, part: Query, caller: Caller) -> _Sample:
        size = 0
        record: dict[str, Any] = {}
        for message in archive.answer(part, caller).messages:
            size += message.batch.nbytes
            record = message.metadata
        return cls(size, record["rows"], record["objects"], record["complete"])

    def whole(self, plan: Plan, part: Query) -> bool:
        """Return whether this is the answer to the query itself."""
        all_ids = plan.query.ids is None or part.ids == plan.query.ids
        return all_ids and (self.complete or part.limit == plan.query.limit)

    def scaled(self, plan: Plan, part: Query, rows: int | None) -> int | None:
        """Return the bytes of the whole answer, extrapolated from this part; None if that is not possible."""
        found, query = self.rows, plan.query
        if not found:
            return 0 if rows == 0 else None
        if rows is not None and query.layout == "rows":
            return round(self.size / found * rows)
        if plan.ids is None or part.ids is None:
            return None
        # the rows of the object that the limit cut are unknown, those of the others are complete
        objects = len(part.ids) if self.complete else max(1, self.objects)
        wanted = found / objects * min(len(plan.ids), query.limit_objects or len(plan.ids))
        return round(self.size / found * (wanted if query.limit is None else min(wanted, query.limit)))


def _part(plan: Plan, rows: int | None) -> Query | None:
    """Return a query for a sample of the answer, or None if even a few rows may take long to find."""
    query = plan.query
    if query.resume_after is not None or (query.ids is None and rows is None):
        return None
    most = SAMPLE_CUTOUTS if query.cutouts else SAMPLE_ROWS
    limit = most if query.limit is None else min(most, query.limit)
    ids = None if query.ids is None else query.ids[:: -(-len(query.ids) // SAMPLE_OBJECTS)]
    return replace(query, ids=ids, limit=limit, digest=False, plan=None)
