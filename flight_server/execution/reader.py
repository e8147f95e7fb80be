"""Scans of one answer: all use the same view of the store, `as_of` and deadline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flight_server.catalog.columns import Projection
from flight_server.catalog.declarations import Table
from flight_server.execution.objects import Objects
from flight_server.planning.cursors import NO_MARK, dropped_state, unknown_state
from flight_server.planning.plan import Plan
from flight_server.protocol.deadlines import Deadline
from flight_server.protocol.errors import BadValue
from flight_server.storage.protocols import RowView
from flight_server.storage.scans import Rows, Scan, Span

__all__ = ["PlanReader"]

NO_KEYS: npt.NDArray[np.bytes_] = np.zeros(0, dtype="S1")


@dataclass(frozen=True, slots=True)
class PlanReader:
    """A plan, the view of the store that answers it, and the deadline.

    Parameters
    ----------
    plan, view, deadline
        These.
    objects
        The objects to read; None if rows are not selected by object.
    rows
        The rows, if they were found by position.
    mark
        The mark of the cursors, if the rows were found by position.
    """

    plan: Plan
    view: RowView
    deadline: Deadline
    objects: Objects | None = None
    rows: Iterator[Rows] | None = None
    mark: bytes = NO_MARK

    @property
    def as_of(self) -> int | None:
        """The time as of which rows are read: that of the ticket, or of its cursor if the store keeps that state."""
        asked, after = self.plan.query.as_of, self.plan.after
        if asked is not None or after is None or not self.view.keeps_versions:
            return asked
        return after.moment

    @property
    def moment(self) -> int:
        """The time as of which the answer is: all rows written until then are in it."""
        return self.view.as_of if self.as_of is None else self.as_of

    def mark_at(self, index: int) -> bytes:
        """Return the mark of a cursor after a row of the object with this index."""
        return self.mark if self.objects is None else self.objects.mark(index)

    def scan(
        self,
        table: Table,
        columns: Projection,
        *,
        ids: Sequence[str | int] | None = None,
        keys: npt.NDArray[np.bytes_] | None = None,
        spans: Sequence[Span] | None = None,
        reverse: bool = False,
        after: bytes | None = None,
        before: bytes | None = None,
    ) -> Iterator[Rows]:
        """Scan a table; see `Scan`. The plan's key range applies only to the plan's own table."""
        return self.view.scan(
            Scan(
                table=table,
                columns=columns,
                ids=ids,
                keys=keys,
                spans=spans,
                reverse=reverse,
                after=after,
                before=before,
                within=self.plan.within if ids is None and keys is None and table is self.plan.table else None,
                as_of=self.as_of,
                deadline=self.deadline,
            )
        )

    def check_as_of(self) -> None:
        """Check that the store still has the state of the plan's tables at `as_of`.

        Raises
        ------
        BadValue
            It does not; names the oldest possible `as_of`.
        CursorMismatch
            The time is that of the plan's cursor; or the store does not have the state of then yet.
        """
        if self.as_of is None:
            return
        if self.plan.query.as_of is None and self.as_of > self.view.as_of:
            raise unknown_state()
        try:
            for table in self.plan.tables:
                # a scan of no keys is cheap and raises the same error
                for _ in self.scan(table, Projection(), keys=NO_KEYS):
                    pass
        except BadValue as error:
            if self.plan.query.as_of is not None:
                raise
            raise dropped_state() from error
