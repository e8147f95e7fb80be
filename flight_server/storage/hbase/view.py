"""Views of HBase: scans that resume after the loss of a gateway."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from flight_server.catalog.columns import Column, Projection
from flight_server.catalog.declarations import Table
from flight_server.protocol.errors import ERRORS, AlertflightError, BackendLost, InternalError
from flight_server.storage.hbase.requests import cells_wanted
from flight_server.storage.hbase.schema_rows import TableSchema
from flight_server.storage.hbase.table_names import TableNames
from flight_server.storage.hbase.widened_cells import large_integers
from flight_server.storage.key_columns import with_key_columns
from flight_server.storage.keys import MAX_KEY_BYTES, key_expression, prefix_ranges
from flight_server.storage.outages import Outage, Outages
from flight_server.storage.protocols import TableState
from flight_server.storage.scans import Rows, Scan
from hbase_bridge import BridgeFault, Gateway, GatewayLost, ScanChannel

__all__ = ["HBaseView", "LeftOut", "Source", "domain_error", "outage_of"]

RESUMES = 3  # of one scan after losses of the gateway
WAIT_SECONDS = 0.5
BATCH_BYTES = 1 << 20
MAX_REQUESTS = 256
MAX_DEFINE_RETRIES = 3  # a gateway with very many kinds of scans may drop a definition before it is used
Place = tuple[int, bytes]  # request index and row key of the last row sent


class LeftOut(Protocol):
    """A counter of cells that are not in the schema row."""

    def __call__(self, table: str, cells: Mapping[str, int]) -> None:
        """Count cells by column."""


class IsCurrent(Protocol):
    """A test whether a schema is still that of its table."""

    def __call__(self, table: str, schema: TableSchema) -> bool:
        """Read the schema rows of the table, and compare."""


def domain_error(fault: BridgeFault) -> AlertflightError:
    """Return the domain error for a fault of the bridge."""
    outage = outage_of(fault)
    return ERRORS.get(fault.code, InternalError)(fault.message) if outage is None else outage.error()


def outage_of(fault: BridgeFault) -> Outage | None:
    """Return the outage that a fault of the bridge tells of."""
    words = fault.outage
    if not words:
        return None
    start, stop = (words[name].encode("latin-1") for name in ("start", "stop"))
    return Outage(words["service"], words["address"], words["message"], words["table"], start, stop)


class CellsWanted(NamedTuple):
    """The cells that a scan reads: the text of the definition, and the short name that the gateway stores it under."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Known:
    """The tables at one moment: their schemas, or the error of a table without one."""

    schemas: Mapping[str, TableSchema]
    faults: Mapping[str, AlertflightError]
    columns: Mapping[str, Mapping[str, pa.DataType]]
    refused: Mapping[str, Mapping[str, str]]
    # by table and projection
    _cells: dict[tuple[str, str], CellsWanted] = field(default_factory=dict)

    def cells_of(self, scan: Scan) -> CellsWanted:
        """Return the cells that a scan reads, cached."""
        key = scan.table.name, scan.columns.key
        held = self._cells.get(key)
        if held is None:
            if len(self._cells) >= MAX_REQUESTS:
                self._cells.clear()
            text = cells_wanted(scan.table, scan.columns, self.schemas[scan.table.name])
            held = self._cells[key] = CellsWanted(sha256(text.encode()).hexdigest()[:24], text)
        return held


@dataclass(frozen=True, slots=True)
class Source:
    """What views read from.

    Parameters
    ----------
    gateway
        The bridge.
    names
        The names of the tables in HBase.
    threads
        The concurrent fetches of one scan.
    outages
        The services of HBase that do not answer.
    left_out
        Called with the number of cells that are not in the schema row.
    is_current
        Returns whether a schema is still that of its table; called for cells that may be of a newer type.
    """

    gateway: Gateway
    names: TableNames
    threads: int
    outages: Outages
    left_out: LeftOut
    is_current: IsCurrent


class HBaseView:
    """A `RowView` over the tables.

    Parameters
    ----------
    source
        Where rows are read from.
    known
        The tables' schemas.
    """

    keeps_versions = False

    def __init__(self, source: Source, known: Known) -> None:
        self._source = source
        self._gateway = source.gateway
        self._known = known
        self.columns = known.columns
        self.refused = known.refused
        self.as_of = time.time_ns() // 1_000_000

    def fault(self, table: Table) -> AlertflightError | None:
        """Return the error of a table that cannot be read, or None."""
        return self._known.faults.get(table.name)

    def stored_types(self, table: str) -> Mapping[str, Sequence[str]]:
        """Return the names of the types with which the cells of each column of a table were written, newest first."""
        schema = self._known.schemas.get(table)
        return {} if schema is None else schema.stored

    def unfit(self, table: Table, name: str, kind: pa.DataType) -> object | None:
        """Return an integer whose cell could be that of a floating-point number; see `RowView.unfit`."""
        if kind != pa.float64() or self.columns[table.name].get(name) != pa.int64():
            return None  # cells of other lengths
        column = Column(name=name, type=pa.int64())
        for rows in self.scan(Scan(table=table, columns=Projection([column]))):
            large = large_integers(rows.batch.column(0))
            if large.any():
                found: object = rows.batch.column(0)[int(np.argmax(large))].as_py()
                return found
        return None

    def split(self, scan: Scan) -> Sequence[tuple[bytes, bytes]]:
        """Split a scan at region boundaries."""
        if fault := self.fault(scan.table):
            raise fault
        name = self._source.names.of(scan.table)
        self._source.outages.check(lambda outage: not outage.table)
        try:
            regions = self._gateway.call("regions", table=name)
        except BridgeFault as refusal:
            self._report(refusal)
            raise domain_error(refusal) from refusal
        cuts = [region["start"].encode("latin-1") for region in regions]
        return key_expression(scan.table.key).split(scan, cuts)

    def count(self, table: Table, ids: Sequence[str | int] | None) -> int | None:  # noqa: ARG002  (cheap nowhere)
        """Return None: HBase would have to read the rows to count them."""
        return None

    def state(self, table: Table) -> TableState:  # noqa: ARG002
        """Return an unknown state: HBase would have to read the table."""
        return TableState(rows=None, bytes=None)

    def scan(self, scan: Scan) -> Iterator[Rows]:
        """Read rows, ordered by request index, then by row key."""
        return with_key_columns(scan, self._scan)

    def _scan(self, scan: Scan) -> Iterator[Rows]:
        """Read the cells of rows."""
        if fault := self.fault(scan.table):
            raise fault
        wanted = _Wanted(scan)
        if wanted.is_empty():
            return
        cells = self._known.cells_of(scan)
        place: Place | None = None
        losses = 0
        concerns = partial(wanted.are_in, self._source.names.of(scan.table))
        while True:
            try:
                self._check_outages(scan, concerns, is_under_way=place is not None)
                for rows in self._read(scan, cells, wanted.behind(place)):
                    place = int(rows.request_index[-1]), bytes(rows.keys[-1])
                    yield rows
            except BridgeFault as loss:
                if loss.code == "corrupt_data":
                    self._check_types(scan)
                is_outage = self._report(loss)
                losses += not is_outage
                if loss.code != "backend_lost" or losses > RESUMES:
                    raise domain_error(loss) from loss
            else:
                return
            self._await_gateway(scan)

    def _check_outages(self, scan: Scan, concerns: Callable[[Outage], bool], *, is_under_way: bool) -> None:
        """Raise if a service that the scan needs does not answer; if the answer is under way, wait for it instead."""
        if is_under_way or scan.deadline.sending.has_begun:
            self._source.outages.wait(concerns, scan.deadline)
        else:
            self._source.outages.check(concerns)

    def _report(self, fault: BridgeFault) -> bool:
        """Note the outage that a fault tells of; return whether it does."""
        outage = outage_of(fault)
        if outage is not None:
            self._source.outages.report(outage)
        return outage is not None

    def _read(self, scan: Scan, cells: CellsWanted, selection: Mapping[str, object]) -> Iterator[Rows]:
        """Read a scan once, without resuming."""
        schema = self._known.schemas[scan.table.name]
        # integers that may be floating-point numbers of a type that is newer than this view
        doubtful = [n for n, column in enumerate(scan.columns) if column.type == pa.int64() and column.name in schema.widening]
        gateway = self._gateway
        socket = gateway.socket
        deadline = scan.deadline
        deadline.check()
        opened = self._open(
            cells,
            table=self._source.names.of(scan.table),
            threads=self._source.threads,
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
                        if any(large_integers(batch.cells.column(place)).any() for place in doubtful):
                            self._check_types(scan)
                        yield Rows(batch.cells, batch.request_index, batch.keys)
            except GatewayLost as fault:
                deadline.check()  # a scan that ended at its deadline is no fault of the gateway
                gateway.terminate(socket, fault.message)
                raise
        if unknown := channel.totals["unknown"]:
            self._source.left_out(scan.table.name, unknown)
        if incomplete := channel.totals["incomplete"]:
            self._source.left_out(scan.table.name, {f"rows without {scan.table.id}": incomplete})

    def _check_types(self, scan: Scan) -> None:
        """Raise BackendLost if the types of a table have changed since the schema of this view was read."""
        if not self._source.is_current(scan.table.name, self._known.schemas[scan.table.name]):
            raise BackendLost(f"the types of columns of {scan.table.name} have changed meanwhile: send the ticket again")

    def _open(self, cells: CellsWanted, **words: object) -> Any:
        """Open a scan; send the definition of its cells if the gateway does not have it."""
        for _ in range(MAX_DEFINE_RETRIES):
            try:
                return self._gateway.call("open-scan", cells=cells.name, **words)
            except BridgeFault as fault:
                if fault.code != "unknown_cells":
                    raise
            self._gateway.call("define-cells", name=cells.name, cells=cells.text)
        return self._gateway.call("open-scan", cells=cells.name, **words)

    def _await_gateway(self, scan: Scan) -> None:
        """Wait for a new gateway until the deadline."""
        while not self._gateway.wait_ready(WAIT_SECONDS):
            scan.deadline.check()
            if self._gateway.is_closed:
                raise BackendLost("the server is shutting down")


class _Wanted:
    """The ranges or keys of a scan, and those that remain after a place."""

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
            possible = np.flatnonzero([len(prefix) <= MAX_KEY_BYTES for prefix in prefixes]).tolist()
            starts, stops = prefix_ranges([prefixes[place] for place in possible])
            pairs = zip(possible, starts.tolist(), stops.tolist(), strict=True)
            self._ranges = [(place, start.decode("latin-1"), stop.decode("latin-1")) for place, start, stop in pairs]
        else:
            found = key_expression(scan.table.key).ranges(scan)
            self._ranges = [(place, start.decode("latin-1"), stop.decode("latin-1")) for place, start, stop in found]

    def is_empty(self) -> bool:
        return not self._keys and not self._ranges

    def are_in(self, table: str, outage: Outage) -> bool:
        """Return whether rows of the scan may be where an outage is."""
        if not outage.table:
            return True
        if outage.table != table:
            return False
        start, stop = outage.start.decode("latin-1"), outage.stop.decode("latin-1")
        if self._keys:
            return any(start <= key and (not stop or key < stop) for key in self._keys)
        return any((not stop or first < stop) and (not last or start < last) for _, first, last in self._ranges)

    def behind(self, place: Place | None) -> dict[str, object]:
        """Return the keys or ranges after the last row sent."""
        index, key = (-1, b"") if place is None else place
        if self._keys:
            return {"keys": self._keys[index + 1 :], "first": index + 1}
        reached = key.decode("latin-1")
        here = [(number, start, stop) for number, start, stop in self._ranges if number == index]
        if self._reverse:
            left = [(number, start, reached) for number, start, _ in here]
        else:
            left = [(number, reached + "\0", stop) for number, _, stop in here]
        ranges = [*filter(_has_room, left), *(range_ for range_ in self._ranges if range_[0] > index)]
        return {"ranges": ranges, "reverse": self._reverse}


def _has_room(range_: tuple[int, str, str]) -> bool:
    """Return whether a range is not empty; HBase refuses empty ones."""
    _, start, stop = range_
    return not stop or start < stop
