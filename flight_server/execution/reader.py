"""How one answer reads the store: all its scans see one view, under one bound and one deadline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flight_server.catalog.catalog import Column
from flight_server.catalog.declarations import Table
from flight_server.planning.plan import Plan
from flight_server.protocol.callers import Deadline
from flight_server.storage.protocols import Rows, RowView, Scan, Span

__all__ = ["Reading"]

NO_KEYS: npt.NDArray[np.bytes_] = np.zeros(0, dtype="S1")


@dataclass(frozen=True, slots=True)
class Reading:
    """A plan, the view of the store that answers it, and how long that may take.

    `keys` are the rows to read, where they were found in a table of positions; `rows` they themselves, if they were read.
    """

    plan: Plan
    view: RowView
    deadline: Deadline
    keys: npt.NDArray[np.bytes_] | None = None
    rows: Rows | None = None

    @property
    def ids(self) -> tuple[str | int, ...] | None:
        """The objects to read, from the cursor's on; None for the whole table."""
        ids, after = self.plan.ids, self.plan.after
        return ids if ids is None or after is None else ids[after.request_index :]

    def scan(
        self,
        table: Table,
        columns: tuple[Column, ...],
        *,
        ids: Sequence[str | int] | None = None,
        keys: npt.NDArray[np.bytes_] | None = None,
        spans: Sequence[Span] | None = None,
        reverse: bool = False,
        after: bytes | None = None,
    ) -> Iterator[Rows]:
        """Scan a table; see `Scan`. The plan's bounds on row keys are on its own table alone."""
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

    def check_bound(self) -> None:
        """Raise where the store cannot tell any more what the plan's tables held at `as_of`.

        Raises
        ------
        BadValue
            Names the oldest moment that can be asked for.
        """
        if self.plan.query.as_of is not None:
            for table in self.plan.tables:
                # a scan for nothing costs nothing, and is refused as one for some rows would be
                for _ in self.scan(table, (), keys=NO_KEYS):
                    pass
