"""Stores whose scans pause: real rows of a real store, with signs of life between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from archives import Opened

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.declarations import Table
from flight_server.execution.archive import Archive
from flight_server.protocol.errors import AlertflightError
from flight_server.settings import Settings
from flight_server.storage.embedded import EmbeddedStore
from flight_server.storage.protocols import NOTHING_YET, Rows, RowView, Scan, TableState, part

Pause = Callable[[Scan], Iterator[Rows]]


@dataclass
class PausingView:
    """A view of the embedded store that gives few rows at a time, and pauses before, between and after them."""

    view: RowView
    pause: Pause
    step: int = 5

    @property
    def columns(self) -> Mapping[str, Mapping[str, pa.DataType]]:
        return self.view.columns

    @property
    def as_of(self) -> int:
        return self.view.as_of

    def scan(self, scan: Scan) -> Iterator[Rows]:
        yield from self.pause(scan)
        for rows in self.view.scan(scan):
            for first in range(0, len(rows.batch), self.step):
                yield part(rows, first, self.step)
                yield from self.pause(scan)

    def parts(self, scan: Scan) -> Sequence[tuple[bytes, bytes]]:
        return self.view.parts(scan)

    def count(self, table: Table, ids: Sequence[str | int] | None) -> int | None:
        return self.view.count(table, ids)

    def state(self, table: Table) -> TableState:
        return self.view.state(table)

    def fault(self, table: Table) -> AlertflightError | None:
        return self.view.fault(table)


@dataclass
class PausingStore:
    """A `RowStore` for reading, over the embedded store."""

    store: EmbeddedStore
    pause: Pause

    def view(self) -> PausingView:
        return PausingView(self.store.view(), self.pause)

    def writing(self) -> object:
        raise NotImplementedError

    def close(self) -> None:
        pass


def nothing_yet(scan: Scan) -> Iterator[Rows]:
    """Give both kinds of rows of zero rows: with the scan's columns and without any."""
    scan.deadline.check()
    yield NOTHING_YET
    empty = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in scan.schema], schema=scan.schema)
    yield Rows(empty, np.zeros(0, dtype=np.int64), np.zeros(0, dtype="S1"))


def pausing(opened: Opened, pause: Pause = nothing_yet, **limits: float) -> Opened:
    """Give an archive over the same store that pauses; its `rows` is a real store that is slow."""
    settings: Settings = replace(opened.settings, limits=replace(opened.settings.limits, **limits))
    archive = Archive(load_catalog(), PausingStore(opened.store, pause), opened.store.cutouts, settings)  # type: ignore[arg-type]
    return Opened(opened.store, archive, settings)
