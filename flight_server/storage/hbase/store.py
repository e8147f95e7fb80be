"""The HBase store: the tables of a broker, with the schemas found in them."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.declarations import Table
from flight_server.protocol.errors import AlertflightError, BackendLost, Draining, TableAbsent, TableRefused
from flight_server.storage.hbase.schema_rows import NEWEST, TableSchema, find_schema
from flight_server.storage.hbase.table_names import TableNames
from flight_server.storage.hbase.view import HBaseView, Known, Source, domain_error, outage_of
from flight_server.storage.hbase.writer import HBaseWriter
from flight_server.storage.hbase.writer_lock import WriterLock
from flight_server.storage.hdfs_blocks import HdfsBlocks
from flight_server.storage.outages import NO_WAIT, Outage, Outages, Waiting
from flight_server.storage.scratch import ScratchFolder
from hbase_bridge import BridgeFault, Gateway, GatewaySettings

__all__ = ["HBaseStore"]

log = logging.getLogger(__name__)
LOOK_SECONDS = 60.0  # the age at which the schemas of the tables are read again
RECHECK_SECONDS = 2.0  # between looks at refused tables that are asked for
PROBE_SECONDS = 2.0  # between looks at the services for `health`
START_SECONDS = 30.0  # how long a service of HBase, found by ZooKeeper, may take for its first answer
PAUSE_SECONDS = 1.0
COMPRESSION = "LZ4"


class HBaseStore:
    """A `RowStore` over an HBase cluster.

    Parameters
    ----------
    catalog
        The tables and columns.
    gateway
        The settings of the bridge, and the address of HBase.
    cutouts
        The blocks to which new cutouts are written.
    names
        The names of the tables in HBase.
    schema
        The schema row that takes precedence, or `newest`.
    threads
        Parallel fetches per scan.
    wait
        How long to wait for HBase.

    Raises
    ------
    AlertflightError
        The bridge cannot be started, or HBase does not answer; the message names the service.
    """

    is_remote = True

    def __init__(
        self,
        catalog: Catalog,
        gateway: GatewaySettings,
        cutouts: HdfsBlocks,
        *,
        names: TableNames,
        schema: str = NEWEST,
        threads: int = 4,
        wait: Waiting = NO_WAIT,
    ) -> None:
        self._catalog = catalog
        self._names = names
        self._schema = schema
        self._threads = threads
        self.cutouts = cutouts
        self._lock = threading.Lock()
        self._left_out: dict[str, Counter[str]] = {}
        self._looking = threading.Lock()
        self._found = self._rechecked = time.monotonic()
        self._probed = 0.0
        self._scratch = ScratchFolder("gateway")
        try:
            with _in_domain():
                self.gateway = Gateway(replace(gateway, folder=self._scratch.path))
        except BaseException:
            self._scratch.cleanup()
            raise
        self._outages = Outages(self._probe)
        try:
            self._await_hbase(wait)
            self._known = self._find()
        except BaseException:
            self.close()
            raise

    def view(self) -> HBaseView:
        """Return a view of the store as of now, with schemas that may be older; `refresh` reads these again."""
        if time.monotonic() - self._found > LOOK_SECONDS and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look, name="schema", daemon=True).start()
        source = Source(self.gateway, self._names, self._threads, self._outages, self._count, self._is_current)
        return HBaseView(source, self._known)

    def refresh(self) -> None:
        """Read the schemas of the tables again."""
        self._replace(self._find())
        self._found = time.monotonic()

    def recheck(self) -> bool:
        """Look again at the tables that are not served, every few seconds at most; return whether anything has changed."""
        known = self._known
        names = list(known.faults)
        with self._lock:
            if not names or time.monotonic() - self._rechecked < RECHECK_SECONDS:
                return False
            self._rechecked = time.monotonic()
        try:
            self._replace(self._find(names))
        except AlertflightError as fault:
            log.debug("refused tables could not be looked at: %s", fault.message)
        return self._known is not known

    def outages(self) -> Sequence[Outage]:
        """Return the services of HBase and HDFS that do not answer; looks itself every few seconds at most."""
        with self._lock:
            due = time.monotonic() - self._probed > PROBE_SECONDS
            if due:
                self._probed = time.monotonic()
        if due:
            try:
                if (found := self._probe(None)) is not None:
                    self._outages.report(found)
            except BackendLost as loss:
                here = Outage("HBase gateway", "this machine", loss.message)
                return [here, *self._outages.present(), *self.cutouts.outages()]
        own = {self._names.of(table): name for name, table in self._catalog.tables.items()}
        present = (replace(outage, table=own.get(outage.table, outage.table)) for outage in self._outages.present())
        return [*present, *self.cutouts.outages()]

    def left_out(self) -> Mapping[str, Mapping[str, int]]:
        """Count, by table and column, the cells read that no schema row names or whose type is unknown."""
        with self._lock:
            found = {table: dict(cells) for table, cells in self._left_out.items()}
        for table, schema in self._known.schemas.items():
            for column in schema.unreadable:
                found.setdefault(table, {}).setdefault(column, 0)
        return found

    @contextmanager
    def writing(self) -> Iterator[HBaseWriter]:
        """Begin an ingest, after waiting for one of another process."""
        with _in_domain(), ExitStack() as held:
            self._outages.check()
            # an ingest has the locks of all surveys that are there, since it may bring alerts of any
            locks = [WriterLock(self.gateway, self._names.of(table), table.families[0]) for table in self._lock_tables()]
            for lock in locks:
                held.enter_context(lock)
            view = self._fresh_view()  # the types of new columns depend on those that are there now
            writer = HBaseWriter(
                self.gateway, self._catalog, view, self._fresh_view, self.cutouts, self.create, names=self._names, locks=locks
            )
            try:
                yield writer
            finally:
                writer.close()

    def create(self, table: Table) -> None:
        """Create a table in HBase, unless it is there."""
        self.gateway.call(
            "create-table",
            name=self._names.of(table),
            families=list(table.families),
            splits=list(table.splits),
            compression=COMPRESSION,
        )

    def _lock_tables(self) -> list[Table]:
        """Return the tables of alerts that are there; create that of the first survey if none is."""
        tables = [survey.alert_table for survey in self._catalog.surveys.values()]
        states = self._call("tables", names=[self._names.of(table) for table in tables])
        found = [table for table in tables if states.get(self._names.of(table)) is not None]
        if not found:
            self.create(tables[0])
        return found or tables[:1]

    def close(self) -> None:
        """Stop the bridge."""
        self._outages.close()
        self.gateway.close()
        self._scratch.cleanup()

    def _await_hbase(self, wait: Waiting) -> None:
        """Wait until HBase answers.

        Raises
        ------
        BackendLost
            It does not in time. Without a ZooKeeper that time is that of `wait`; HBase itself may take some time for its
            first answer.
        Draining
            The wait is over since the server is to stop.
        """
        began = time.monotonic()
        told = False
        while True:
            outage = self._probe(None)
            if outage is None:
                return
            patience = max(wait.seconds, 0.0 if outage.service == "ZooKeeper" else START_SECONDS)
            if time.monotonic() - began >= patience:
                raise outage.error()
            if wait.is_over():
                raise Draining("the server was stopped while it waited for HBase")
            if not told:
                told = True
                log.warning("%s; waiting for it", outage.message)
            time.sleep(PAUSE_SECONDS)

    def _probe(self, outage: Outage | None) -> Outage | None:
        """Look whether the services of HBase answer, also that of the region of an outage."""
        where = {} if outage is None else {"table": outage.table, "row": outage.start.decode("latin-1")}
        with _in_domain():
            words = self.gateway.call("probe", **where)
        return outage_of(BridgeFault("backend_lost", "", words))

    def _look(self) -> None:
        """Refresh in the background; if that fails, keep the current schemas."""
        try:
            self.refresh()
        except AlertflightError as fault:
            log.warning("the schemas of the tables could not be refreshed: %s", fault.message)
            self._found = time.monotonic()
        finally:
            self._looking.release()

    def _fresh_view(self) -> HBaseView:
        self.refresh()
        return self.view()

    def _is_current(self, table: str, schema: TableSchema) -> bool:
        """Return whether a schema is still that of its table; if not, refresh."""
        with _in_domain():
            if self._find_table(table, enabled=True) == schema:
                return True
        self.refresh()
        return False

    def _count(self, table: str, cells: Mapping[str, int]) -> None:
        with self._lock:
            counted = self._left_out.setdefault(table, Counter())
            for column, count in cells.items():
                if column not in counted:
                    log.warning("%s: left out of answers: %s (see left_out in health)", table, column)
                counted[column] += count

    def _replace(self, found: Known) -> None:
        """Use other schemas; unchanged ones stay the same object, so that caches remain valid."""
        if found.schemas != self._known.schemas or _reasons(found) != _reasons(self._known):
            self._known = found

    def _find(self, names: Sequence[str] = ()) -> Known:
        """Find the schemas of tables, all or those named; the others stay as they are known."""
        held: Known | None = getattr(self, "_known", None)
        wanted = list(names or self._catalog.tables)
        schemas = {} if held is None else {name: one for name, one in held.schemas.items() if name not in wanted}
        faults = {} if held is None else {name: one for name, one in held.faults.items() if name not in wanted}
        with _in_domain():
            self._outages.check(lambda outage: not outage.table)
            full = {name: self._names.of(self._catalog.table(name)) for name in wanted}
            states = self._call("tables", names=list(full.values()))
            for name in wanted:
                try:
                    schemas[name] = self._find_table(name, states.get(full[name]))
                except BackendLost as fault:
                    if held is not None and name in held.schemas:
                        schemas[name] = held.schemas[name]
                    else:
                        faults[name] = fault
                except AlertflightError as fault:
                    faults[name] = fault
        order = [name for name in self._catalog.tables if name in schemas]
        return Known(
            {name: schemas[name] for name in order},
            faults,
            {name: schemas[name].columns for name in order},
            {name: schemas[name].refused for name in order if schemas[name].refused},
        )

    def _find_table(self, name: str, enabled: bool | None) -> TableSchema:
        table = self._catalog.table(name)
        full = self._names.of(table)
        if not enabled:
            fault, why = (TableAbsent, "does not exist") if enabled is None else (TableRefused, "is disabled")
            raise fault(f"the table {full} {why} in HBase", field="table", value=name)
        try:
            rows = self._call("schema-rows", table=full)
        except BridgeFault as fault:
            raise domain_error(fault) from fault
        return find_schema(table, rows, self._catalog, self._schema)

    def _call(self, operation: str, **words: object) -> Any:
        """Call the gateway, and note an outage."""
        try:
            return self.gateway.call(operation, **words)
        except BridgeFault as fault:
            if (outage := outage_of(fault)) is not None:
                self._outages.report(outage)
            raise


def _reasons(known: Known) -> dict[str, str]:
    return {name: fault.message for name, fault in known.faults.items()}


@contextmanager
def _in_domain() -> Iterator[None]:
    try:
        yield
    except BridgeFault as fault:
        raise domain_error(fault) from fault
