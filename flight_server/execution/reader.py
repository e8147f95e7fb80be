"""Scans of one answer: all use the same view of the store, `as_of` and deadline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flight_server.catalog.columns import Projection
from flight_server.catalog.declarations import Table
from flight_server.planning.plan import Plan
from flight_server.protocol.deadlines import Deadline
from flight_server.storage.protocols import RowView
from flight_server.storage.scans import Rows, Scan, Span

__all__ = ["PlanReader"]

NO_KEYS: npt.NDArray[np.bytes_] = np.zeros(0, dtype="S1")


@dataclass(frozen=True, slots=True)
class PlanReader:
    """A plan, the view of the store that answers it, and the deadline.

    `keys` are the row keys found in an index table of positions; `rows` are their rows, if these were read already.
    """

    plan: Plan
    view: RowView
    deadline: Deadline
    keys: npt.NDArray[np.bytes_] | None = None
    rows: Rows | None = None

    @property
    def ids(self) -> tuple[str | int, ...] | None:
        """The objects to read, from the cursor's object on; None if rows are not selected by ID."""
        ids, after = self.plan.ids, self.plan.after
        return ids if ids is None or after is None else ids[after.request_index :]

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
                within=self.plan.within if ids is None and keys is None and table is self.plan.table else None,
                as_of=self.plan.query.as_of,
                deadline=self.deadline,
            )
        )

    def check_as_of(self) -> None:
        """Check that the store still has the state of the plan's tables at `as_of`.

        Raises
        ------
        BadValue
            It does not; names the oldest possible `as_of`.
        """
        if self.plan.query.as_of is not None:
            for table in self.plan.tables:
                # a scan of no keys is cheap and raises the same error
                for _ in self.scan(table, Projection(), keys=NO_KEYS):
                    pass
