"""Stores whose scans pause, or never end: real rows of a real store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from archives import Opened

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.declarations import Table
from flight_server.execution.archive import Archive
from flight_server.protocol.errors import AlertflightError
from flight_server.settings import Settings
from flight_server.storage.embedded import EmbeddedStore
from flight_server.storage.protocols import RowView, TableState
from flight_server.storage.scans import Rows, Scan

Pause = Callable[[Scan], None]


@dataclass
class PausingView:
    """A view of the embedded store with few rows per batch, and pauses before, between and after them.

    With `again` a scan begins anew whenever it has come to its end.
    """

    view: RowView
    pause: Pause
    step: int = 50
    again: bool = False

    @property
    def columns(self) -> Mapping[str, Mapping[str, pa.DataType]]:
        return self.view.columns

    @property
    def refused(self) -> Mapping[str, Mapping[str, str]]:
        return self.view.refused

    @property
    def as_of(self) -> int:
        return self.view.as_of

    @property
    def keeps_versions(self) -> bool:
        return self.view.keeps_versions

    def scan(self, scan: Scan) -> Iterator[Rows]:
        while True:
            self.pause(scan)
            for rows in self.view.scan(scan):
                for first in range(0, len(rows), self.step):
                    yield rows.slice(first, self.step)
                    self.pause(scan)
            if not self.again:
                return

    def split(self, scan: Scan) -> Sequence[tuple[bytes, bytes]]:
        return self.view.split(scan)

    def count(self, table: Table, ids: Sequence[str | int] | None) -> int | None:
        return self.view.count(table, ids)

    def state(self, table: Table) -> TableState:
        return self.view.state(table)

    def unfit(self, table: Table, name: str, kind: pa.DataType) -> object | None:
        return self.view.unfit(table, name, kind)

    def fault(self, table: Table) -> AlertflightError | None:
        return self.view.fault(table)


@dataclass
class PausingStore:
    """A read-only `RowStore` over the embedded store."""

    store: EmbeddedStore
    pause: Pause
    again: bool = False
    is_remote = True

    def view(self) -> PausingView:
        return PausingView(self.store.view(), self.pause, again=self.again)

    def writing(self) -> object:
        raise NotImplementedError

    def close(self) -> None:
        pass


def moment(scan: Scan) -> None:
    """Wait for a moment or until the deadline."""
    scan.deadline.check()
    time.sleep(0.03)
    scan.deadline.check()


def for_ever(scan: Scan) -> None:
    """Wait until the scan is cancelled or past its deadline."""
    while True:
        scan.deadline.check()
        time.sleep(0.01)


def pausing(opened: Opened, pause: Pause = moment, *, again: bool = False, **limits: float) -> Opened:
    """Return an archive over the same store, with pauses; its `rows` is a real store that is slow."""
    settings: Settings = replace(opened.settings, limits=replace(opened.settings.limits, **limits))
    archive = Archive(load_catalog(), PausingStore(opened.store, pause, again), opened.store.cutouts, settings)  # type: ignore[arg-type]
    return Opened(opened.store, archive, settings)
