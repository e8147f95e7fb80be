"""The interfaces of stores: `RowStore` for the rows of tables, `CutoutStore` for cutouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.declarations import BlockLayout, Table
from flight_server.protocol.deadlines import Deadline
from flight_server.protocol.errors import AlertflightError
from flight_server.storage.outages import Outage
from flight_server.storage.scans import Rows, Scan

__all__ = [
    "ALERT",
    "VERSION",
    "CutoutStore",
    "PendingStamps",
    "RowStore",
    "RowView",
    "RowWriter",
    "Sharing",
    "StampFailure",
    "Stamps",
    "TableState",
]

ALERT = "~alert"  # an extra column of rows with cutouts: the alert's index in its file; sorts after every column
VERSION = "_version"  # an extra column of rows for a `RowWriter`: text that sorts as the versions of an alert do


@dataclass(frozen=True, slots=True)
class TableState:
    """The state of one table: rows, bytes on disk, first and last time, time of the last write (ms since 1970).

    A value is None if the store would have to read the table for it.
    """

    rows: int | None = 0
    bytes: int | None = 0
    first: float | None = None
    last: float | None = None
    written: int | None = None


class RowView(Protocol):
    """A consistent view of a store: all of its scans see the same rows."""

    @property
    def columns(self) -> Mapping[str, Mapping[str, pa.DataType]]:
        """The recorded columns of each table, with their types."""

    @property
    def refused(self) -> Mapping[str, Mapping[str, str]]:
        """The columns of each table that are not served, since they contradict the catalog, with the reason."""

    @property
    def as_of(self) -> int:
        """The time of the newest write in this view, ms since 1970. All rows written until then are in it, no later ones."""

    @property
    def keeps_versions(self) -> bool:
        """Whether an `as_of` of an earlier view is exact for all tables, also those whose rows are overwritten, or refused."""

    def scan(self, scan: Scan) -> Iterator[Rows]:
        """Read rows: yield every selected row exactly once, or raise.

        Raises
        ------
        BadValue
            The store no longer has the state at `as_of`. A scan of no keys raises it too.
        """

    def split(self, scan: Scan) -> Sequence[tuple[bytes, bytes]]:
        """Split a scan of a whole table or of one span; return one or more values for `Scan.within`, by ascending keys.

        Together they select each row of the scan once. Parts are large enough for a stream each, such as a region in HBase.
        If the table cannot be read, raise the same error as a scan.
        """

    def count(self, table: Table, ids: Sequence[str | int] | None) -> int | None:
        """Return the number of rows if that is cheap, else None."""

    def state(self, table: Table) -> TableState:
        """Return the state of a table."""

    def unfit(self, table: Table, name: str, kind: pa.DataType) -> object | None:
        """Return a value of a column of numbers that the store cannot hold as a wider type; None if there is none.

        All values count that a later scan can read, also with `as_of`. This may read the whole table.
        """

    def fault(self, table: Table) -> AlertflightError | None:
        """Return the error of a table that cannot be read, or None."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """What shares object and time with another alert of an ingest or of the store, as detections in one exposure do.

    `alerts` are the IDs of the alerts that are stored under row keys that end with them. `left_out` counts the points of
    histories that are not stored, by object and time: only one point can stand for an exposure.
    """

    alerts: tuple[int, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


class RowWriter(Protocol):
    """A transaction that writes rows: none is visible before `commit`, all are visible after it.

    In a store without transactions, rows become visible while `commit` runs; a commit that fails is run again.
    """

    @property
    def sharing(self) -> Sharing:
        """The alerts and points that share object and time with another one. Known after `commit`."""

    @property
    def keeps_alerts(self) -> bool:
        """Whether the store also keeps whole alert packets, so that `write` needs all of their fields."""

    def write(self, parts: Sequence[tuple[Table, pa.Table]], alerts: pa.Table) -> None:
        """Add the rows of one file, of several tables: all of them or, if it raises, none.

        Rows have the table's columns by name and `VERSION`; rows of a table with cutouts also have these and `ALERT`.
        """

    def remove(self, table: Table, keys: npt.NDArray[np.bytes_]) -> None:
        """Remove the stored rows with these keys, also from earlier states; rows written with the same keys stay."""

    def commit(self, files: int, alerts: int) -> Mapping[str, int]:
        """Make all rows visible at once; return the number of rows written, by table."""


class RowStore(Protocol):
    """A store of tables."""

    @property
    def is_remote(self) -> bool:
        """Whether scans wait for other machines, so that they can take long."""

    def writing(self) -> AbstractContextManager[RowWriter]:
        """Begin an ingest; only one can run at a time."""

    def view(self) -> RowView:
        """Return a view of the present state of the store."""

    def refresh(self) -> None:
        """Read the columns of the tables again."""

    def recheck(self) -> bool:
        """Look again at tables that were refused, at most every few seconds; return whether anything has changed."""

    def outages(self) -> Sequence[Outage]:
        """Return the services behind the store that do not answer now, after a quick look; one for each service."""

    def left_out(self) -> Mapping[str, Mapping[str, int]]:
        """Return the number of cells without a known type, by table and column; answers leave them out."""

    @property
    def cutouts(self) -> CutoutStore:
        """The store of the cutouts of its alerts."""

    def close(self) -> None:
        """Close all files and processes."""


@dataclass(frozen=True, slots=True)
class StampFailure:
    """A cutout that exists but cannot be read: the row of its alert, its kind, and the reason in one word."""

    row: int
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stamps:
    """Cutouts as stored, one array of n binary values for each kind.

    Parameters
    ----------
    kinds
        The cutouts by kind; null if there is none, or if it failed.
    bytes_read
        The bytes read for them.
    failures
        The cutouts that could not be read.
    """

    kinds: Mapping[str, pa.BinaryArray]
    bytes_read: int
    failures: tuple[StampFailure, ...] = ()


class PendingStamps(Protocol):
    """A read of cutouts in progress."""

    def wait(self, seconds: float) -> Stamps | None:
        """Wait for the cutouts; return None if they are not complete after this time. Raise the error of a failed read."""

    def cancel(self) -> None:
        """Cancel the read."""


class CutoutStore(Protocol):
    """A store of cutouts in Parquet blocks."""

    def begin(
        self, layout: BlockLayout, paths: pa.StringArray, object_ids: pa.Array, alert_ids: pa.Array, kinds: Sequence[str]
    ) -> PendingStamps:
        """Begin to read the cutouts of n alerts, in their order.

        Parameters
        ----------
        layout
            The layout of the blocks.
        paths
            The path of each alert's block, as in its table row; null if it has no cutouts.
        object_ids, alert_ids
            The object IDs and the alert IDs (candid), n values each.
        kinds
            Any of Science, Template, Difference.
        """

    def read(
        self, layout: BlockLayout, paths: pa.StringArray, object_ids: pa.Array, alert_ids: pa.Array, kinds: Sequence[str]
    ) -> Stamps:
        """Read cutouts and wait for them; see `begin`."""

    def await_services(self, deadline: Deadline) -> bool:
        """Wait until all services behind the store answer; return whether one did not. Raise its error at the deadline."""
