"""HBase as it is while one answer is read: scans that go on where a lost gateway stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from flight_server.catalog.declarations import Table
from flight_server.protocol.errors import ERRORS, AlertflightError, BackendLost, InternalError
from flight_server.storage.hbase.requests import cells_wanted
from flight_server.storage.hbase.schema_rows import TableSchema
from flight_server.storage.keys import MAX_KEY_BYTES, key_expression, prefix_ranges
from flight_server.storage.protocols import TableState
from flight_server.storage.scans import Rows, Scan
from hbase_bridge import BridgeFault, Gateway, GatewayLost, ScanChannel

__all__ = ["HBaseView", "LeftOut", "domain_error"]

RESUMES = 3  # times that one scan goes on after a loss
WAIT_SECONDS = 0.5
BATCH_BYTES = 1 << 20
MAX_REQUESTS = 256
MAX_DEFINE_RETRIES = 3  # that a gateway may forget at once what it was told, under very many kinds of scans
Place = tuple[int, bytes]  # the asked item and the row key of the last row that left


class LeftOut(Protocol):
    """Takes note of cells that no schema row names."""

    def __call__(self, table: str, cells: Mapping[str, int]) -> None:
        """Count cells by column."""


def domain_error(fault: BridgeFault) -> AlertflightError:
    """Give the server's error for a fault of the bridge."""
    return ERRORS.get(fault.code, InternalError)(fault.message)


class CellsWanted(NamedTuple):
    """What a scan reads of each row: a short name, under which the gateway holds it, and the text that says it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the tables at one moment: their schemas, or why one has none."""

    schemas: Mapping[str, TableSchema]
    faults: Mapping[str, AlertflightError]
    columns: Mapping[str, Mapping[str, pa.DataType]]
    # what scans read, by table and projection
    _cells: dict[tuple[str, str], CellsWanted] = field(default_factory=dict)

    def cells_of(self, scan: Scan) -> CellsWanted:
        """Return which cells a scan reads."""
        key = scan.table.name, scan.columns.key
        held = self._cells.get(key)
        if held is None:
            if len(self._cells) >= MAX_REQUESTS:
                self._cells.clear()
            text = cells_wanted(scan.table, scan.columns, self.schemas[scan.table.name])
            held = self._cells[key] = CellsWanted(sha256(text.encode()).hexdigest()[:24], text)
        return held


class HBaseView:
    """A `RowView` over the tables.

    Parameters
    ----------
    gateway
        The bridge.
    known
        The tables' schemas.
    prefix
        What the names of tables in HBase begin with.
    threads
        Fetches of one scan at once.
    left_out
        Is told of cells that no schema row names.
    """

    def __init__(self, gateway: Gateway, known: Known, prefix: str, threads: int, left_out: LeftOut) -> None:
        self._gateway = gateway
        self._known = known
        self._prefix = prefix
        self._threads = threads
        self._left_out = left_out
        self.columns = known.columns
        self.as_of = time.time_ns() // 1_000_000

    def fault(self, table: Table) -> AlertflightError | None:
        """Say why the table cannot be read, or None where it can."""
        return self._known.faults.get(table.name)

    def split(self, scan: Scan) -> Sequence[tuple[bytes, bytes]]:
        """Cut a scan where regions begin."""
        if fault := self.fault(scan.table):
            raise fault
        try:
            regions = self._gateway.call("regions", table=self._prefix + scan.table.name)
        except BridgeFault as refusal:
            raise domain_error(refusal) from refusal
        cuts = [region["start"].encode("latin-1") for region in regions]
        return key_expression(scan.table.key).split(scan, cuts)

    def count(self, table: Table, ids: Sequence[str | int] | None) -> int | None:  # noqa: ARG002  (cheap nowhere)
        """Count rows: HBase cannot without reading them."""
        return None

    def state(self, table: Table) -> TableState:  # noqa: ARG002
        """Say what the table holds; HBase does not know without reading it."""
        return TableState(rows=None, bytes=None)

    def scan(self, scan: Scan) -> Iterator[Rows]:
        """Read rows, in order of what was asked for and of row keys within."""
        if fault := self.fault(scan.table):
            raise fault
        wanted = _Wanted(scan)
        if wanted.is_empty():
            return
        cells = self._known.cells_of(scan)
        place: Place | None = None
        losses = 0
        while True:
            try:
                for rows in self._read(scan, cells, wanted.behind(place)):
                    place = int(rows.request_index[-1]), bytes(rows.keys[-1])
                    yield rows
            except BridgeFault as loss:
                losses += 1
                if loss.code != "backend_lost" or losses > RESUMES:
                    raise domain_error(loss) from loss
            else:
                return
            self._await_gateway(scan)

    def _read(self, scan: Scan, cells: CellsWanted, selection: Mapping[str, object]) -> Iterator[Rows]:
        """Read one scan of the gateway, once."""
        gateway = self._gateway
        socket = gateway.socket
        deadline = scan.deadline
        deadline.check()
        opened = self._open(
            cells,
            table=self._prefix + scan.table.name,
            threads=self._threads,
            batch_bytes=BATCH_BYTES,
            as_of=scan.as_of or 0,
            milliseconds=int(min(deadline.left(), 86_400.0) * 1000),
            **selection,
        )
        with ScanChannel(socket, opened["id"], opened["secret"], scan.schema, gateway.settings.call_timeout) as channel:
            try:
                for batch in channel:
                    deadline.check()
                    if batch is not None:
                        yield Rows(batch.cells, batch.request_index, batch.keys)
            except GatewayLost as fault:
                deadline.check()  # one that took its time is left in the middle, and that is no fault of the gateway
                gateway.terminate(socket, fault.message)
                raise
        if unknown := channel.totals["unknown"]:
            self._left_out(scan.table.name, unknown)

    def _open(self, cells: CellsWanted, **words: object) -> Any:
        """Open a scan; a gateway that does not hold what it reads is told."""
        for _ in range(MAX_DEFINE_RETRIES):
            try:
                return self._gateway.call("open-scan", cells=cells.name, **words)
            except BridgeFault as fault:
                if fault.code != "unknown_cells":
                    raise
            self._gateway.call("define-cells", name=cells.name, cells=cells.text)
        return self._gateway.call("open-scan", cells=cells.name, **words)

    def _await_gateway(self, scan: Scan) -> None:
        """Wait for the next gateway, as long as the caller does."""
        while not self._gateway.wait_ready(WAIT_SECONDS):
            scan.deadline.check()
            if self._gateway.is_closed:
                raise BackendLost("the server is about to stop")


class _Wanted:
    """The ranges or keys of a scan, and what is left of them behind a place."""

    def __init__(self, scan: Scan) -> None:
        if scan.reverse and len(scan.spans or ()) != 1:
            raise ValueError("a scan in reverse is one of a single span")
        self._keys: list[str] = []
        self._ranges: list[tuple[int, str, str]] = []
        self._reverse = scan.reverse
        if scan.keys is not None:
            self._keys = [key.decode("latin-1") for key in scan.keys.tolist()]
        elif scan.ids is not None:
            expression = key_expression(scan.table.key)
            prefixes = expression.prefixes(scan.table.id, scan.ids)
            asked = np.flatnonzero([len(prefix) <= MAX_KEY_BYTES for prefix in prefixes]).tolist()
            starts, stops = prefix_ranges([prefixes[place] for place in asked])
            pairs = zip(asked, starts.tolist(), stops.tolist(), strict=True)
            self._ranges = [(place, start.decode("latin-1"), stop.decode("latin-1")) for place, start, stop in pairs]
        else:
            found = key_expression(scan.table.key).ranges(scan)
            self._ranges = [(place, start.decode("latin-1"), stop.decode("latin-1")) for place, start, stop in found]

    def is_empty(self) -> bool:
        return not self._keys and not self._ranges

    def behind(self, place: Place | None) -> dict[str, object]:
        """Give what is to be read behind the last row that left."""
        asked, key = (-1, b"") if place is None else place
        if self._keys:
            return {"keys": self._keys[asked + 1 :], "first": asked + 1}
        reached = key.decode("latin-1")
        here = [(number, start, stop) for number, start, stop in self._ranges if number == asked]
        if self._reverse:
            left = [(number, start, reached) for number, start, _ in here]
        else:
            left = [(number, reached + "\0", stop) for number, _, stop in here]
        ranges = [*filter(_has_room, left), *(range_ for range_ in self._ranges if range_[0] > asked)]
        return {"ranges": ranges, "reverse": self._reverse}


def _has_room(range_: tuple[int, str, str]) -> bool:
    """Say whether a key can be in a range; HBase refuses others."""
    _, start, stop = range_
    return not stop or start < stop
