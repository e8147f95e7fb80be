"""What an answer would be, told from counts and from a few of its rows: nothing is read whole for it."""

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
SAMPLE_STAMPS = 20  # rows, where stamps come with them


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an answer would be.

    Parameters
    ----------
    rows
        Its rows, counted; None where that is not cheap.
    objects
        The objects that were asked for, at most; None where they were not named.
    endpoints
        The endpoints that `get_flight_info` gives.
    bytes
        About what its record batches take in memory; None where no few rows can tell.
    columns
        Its columns.
    exact
        Whether the answer is so small that all of it was read: then all of this is as it will be.
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
        As for the query itself.
    """
    plan = archive.plan(query, caller)
    rows = archive.count(plan)
    asked = None if plan.ids is None else min(len(plan.ids), query.limit_objects or len(plan.ids))
    told = Estimate(rows, asked, len(archive.endpoints(plan)[0]), None, len(plan.schema), exact=False)
    part = _part(plan, rows)
    if part is None:
        return told
    sample = _Sample.of(archive, part, caller)
    if sample.whole(plan, part):
        return replace(told, rows=sample.rows, objects=sample.objects, bytes=sample.size, exact=True)
    return replace(told, bytes=sample.scaled(plan, part, rows))


@dataclass(frozen=True, slots=True)
class _Sample:
    """The answer to a part of a query: the bytes of its batches, and of its record the counts and whether that was all."""

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
        """Say whether this is the answer to the query itself."""
        all_asked = plan.query.ids is None or part.ids == plan.query.ids
        return all_asked and (self.complete or part.limit == plan.query.limit)

    def scaled(self, plan: Plan, part: Query, rows: int | None) -> int | None:
        """Give the bytes of the whole answer, as far as this part tells."""
        found, query = self.rows, plan.query
        if not found:
            return 0 if rows == 0 else None
        if rows is not None and query.layout == "rows":
            return round(self.size / found * rows)
        if plan.ids is None or part.ids is None:
            return None
        # of an object that the limit cut, the rest is not known; of the others the rows are
        objects = len(part.ids) if self.complete else max(1, self.objects)
        wanted = found / objects * min(len(plan.ids), query.limit_objects or len(plan.ids))
        return round(self.size / found * (wanted if query.limit is None else min(wanted, query.limit)))


def _part(plan: Plan, rows: int | None) -> Query | None:
    """Give a query for few rows of the answer, or None where even few may take long to find."""
    query = plan.query
    if query.resume_after is not None or (query.ids is None and rows is None):
        return None
    most = SAMPLE_STAMPS if query.cutouts else SAMPLE_ROWS
    limit = most if query.limit is None else min(most, query.limit)
    ids = None if query.ids is None else query.ids[:: -(-len(query.ids) // SAMPLE_OBJECTS)]
    return replace(query, ids=ids, limit=limit, digest=False, plan=None)
