"""What every store can do: `RowStore` for the cells of tables, `CutoutStore` for image stamps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from flight_server.catalog.declarations import BlockLayout, Table
from flight_server.protocol.errors import AlertflightError
from flight_server.storage.scans import Rows, Scan

__all__ = [
    "ALERT",
    "VERSION",
    "CutoutStore",
    "PendingStamps",
    "RowStore",
    "RowView",
    "RowWriter",
    "StampFailure",
    "Stamps",
    "TableState",
]

ALERT = "~alert"  # the alert's place in its file; travels with rows of stamps, and sorts behind every column
VERSION = "_version"  # text that sorts as the versions of an alert do; travels with rows into a `RowWriter`


@dataclass(frozen=True, slots=True)
class TableState:
    """What a store holds of one table: rows, bytes on disk, the span of its time column, when it was last written (ms).

    None: the store does not know without reading the table.
    """

    rows: int | None = 0
    bytes: int | None = 0
    first: float | None = None
    last: float | None = None
    written: int | None = None


class RowView(Protocol):
    """A store as it is at one moment: all its scans see the same rows."""

    @property
    def columns(self) -> Mapping[str, Mapping[str, pa.DataType]]:
        """The columns that each table has held, with their types."""

    @property
    def as_of(self) -> int:
        """The newest write that is in this view, ms since 1970: all rows written until then are in it, none after."""

    def scan(self, scan: Scan) -> Iterator[Rows]:
        """Read rows; every selected row comes exactly once, or the iterator raises.

        Raises
        ------
        BadValue
            The store has thrown away rows that had to be read for `as_of`. A scan of no keys raises it too.
        """

    def split(self, scan: Scan) -> Sequence[tuple[bytes, bytes]]:
        """Cut a scan of a whole table or of one span: gives one or more values for `Scan.within`, by ascending keys.

        Together they select what the scan does, each of its rows once. Parts are worth a stream each: a region in HBase.
        A table that cannot be read raises as a scan of it would.
        """

    def count(self, table: Table, ids: Sequence[str | int] | None) -> int | None:
        """Count rows where that is cheap."""

    def state(self, table: Table) -> TableState:
        """Say what the table holds."""

    def fault(self, table: Table) -> AlertflightError | None:
        """Say why the table cannot be read, or None where it can."""


class RowWriter(Protocol):
    """Rows on their way into a store; none of them is visible before `commit`, all are after it.

    A store without transactions shows rows while `commit` runs; one that breaks off is run again.
    """

    @property
    def keeps_alerts(self) -> bool:
        """Whether the store keeps alerts also as their files have them, and so wants all of each."""

    def write(self, parts: Sequence[tuple[Table, pa.Table]], alerts: pa.Table) -> None:
        """Take in the rows that one file brings, of several tables, all of them or (raising) none.

        Rows have the table's columns by name, stamps and `ALERT` where the table has stamps, and `VERSION`.
        """

    def commit(self, files: int, alerts: int) -> Mapping[str, int]:
        """Make all of it visible at once; gives the rows written to each table."""


class RowStore(Protocol):
    """A store of tables."""

    @property
    def is_remote(self) -> bool:
        """Whether a scan may have to wait for other machines, and so for long."""

    def writing(self) -> AbstractContextManager[RowWriter]:
        """Begin an ingest; one at a time."""

    def view(self) -> RowView:
        """Give the store as it is now."""

    def refresh(self) -> None:
        """Look again for what the tables hold."""

    def left_out(self) -> Mapping[str, Mapping[str, int]]:
        """Count, by table and column, the cells that were met but have no known type, and so are in no answer."""

    @property
    def cutouts(self) -> CutoutStore:
        """The stamps of its alerts."""

    def close(self) -> None:
        """Let go of all files and processes."""


@dataclass(frozen=True, slots=True)
class StampFailure:
    """A stamp that should be there but cannot be read: of which alert, by its row, which kind, and a word that says why."""

    row: int
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stamps:
    """Stamps as stored, one array of n binary values for each kind.

    Parameters
    ----------
    kinds
        The stamps; null where there is none, or where it failed.
    bytes_read
        The bytes read for them.
    failures
        Those that failed.
    """

    kinds: Mapping[str, pa.BinaryArray]
    bytes_read: int
    failures: tuple[StampFailure, ...] = ()


class PendingStamps(Protocol):
    """Stamps that are being read."""

    def wait(self, seconds: float) -> Stamps | None:
        """Wait at most so long; None while they are not all there. Raises what kept them from being read."""

    def cancel(self) -> None:
        """Say that nobody waits any more."""


class CutoutStore(Protocol):
    """A store of image stamps in Parquet blocks."""

    def begin(
        self, layout: BlockLayout, paths: pa.StringArray, object_ids: pa.Array, alert_ids: pa.Array, kinds: Sequence[str]
    ) -> PendingStamps:
        """Begin to read the stamps of n alerts, in their order.

        Parameters
        ----------
        layout
            How the blocks are laid out.
        paths
            The block of each alert, as its table row names it; null where it has none, and so no stamps.
        object_ids, alert_ids
            The object's ID and the alert's own (candid), n each.
        kinds
            Any of Science, Template, Difference.
        """

    def read(
        self, layout: BlockLayout, paths: pa.StringArray, object_ids: pa.Array, alert_ids: pa.Array, kinds: Sequence[str]
    ) -> Stamps:
        """Read them all before it returns; see `begin`."""
