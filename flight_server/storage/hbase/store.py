"""The HBase store: the tables of a broker, with the schemas found in them."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from flight_server.catalog.catalog import Catalog
from flight_server.protocol.errors import AlertflightError, TableRefused
from flight_server.storage.hbase.schema_rows import NEWEST, TableSchema, find_schema
from flight_server.storage.hbase.view import HBaseView, Known, domain_error
from flight_server.storage.hbase.writer import HBaseWriter
from flight_server.storage.hdfs_blocks import HdfsBlocks
from flight_server.storage.scratch import ScratchFolder
from hbase_bridge import BridgeFault, Gateway, GatewaySettings

__all__ = ["HBaseStore"]

log = logging.getLogger(__name__)
LOOK_SECONDS = 60.0  # the age at which the schemas of the tables are read again


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
    prefix
        The prefix of the names of tables in HBase.
    schema
        The schema row that takes precedence, or `newest`.
    threads
        Parallel fetches per scan.

    Raises
    ------
    AlertflightError
        The bridge cannot be started.
    """

    is_remote = True

    def __init__(
        self,
        catalog: Catalog,
        gateway: GatewaySettings,
        cutouts: HdfsBlocks,
        *,
        prefix: str = "",
        schema: str = NEWEST,
        threads: int = 4,
    ) -> None:
        self._catalog = catalog
        self._prefix = prefix
        self._schema = schema
        self._threads = threads
        self.cutouts = cutouts
        self._lock = threading.Lock()
        self._left_out: dict[str, Counter[str]] = {}
        self._looking = threading.Lock()
        self._found = time.monotonic()
        self._scratch = ScratchFolder("gateway")
        try:
            with _in_domain():
                self.gateway = Gateway(replace(gateway, folder=self._scratch.path))
        except BaseException:
            self._scratch.cleanup()
            raise
        try:
            self._known = self._find()
        except BaseException:
            self.close()
            raise

    def view(self) -> HBaseView:
        """Return a view of the store as of now, with schemas that may be older; `refresh` reads these again."""
        if time.monotonic() - self._found > LOOK_SECONDS and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look, name="schema", daemon=True).start()
        return HBaseView(self.gateway, self._known, self._prefix, self._threads, self._count, self._is_current)

    def refresh(self) -> None:
        """Read the schemas of the tables again."""
        found = self._find()
        # unchanged schemas stay the same object, so that caches remain valid
        if found.schemas != self._known.schemas or _reasons(found) != _reasons(self._known):
            self._known = found
        self._found = time.monotonic()

    def _look(self) -> None:
        """Refresh in the background; if that fails, keep the current schemas."""
        try:
            self.refresh()
        except AlertflightError as fault:
            log.warning("the schemas of the tables could not be refreshed: %s", fault.message)
            self._found = time.monotonic()
        finally:
            self._looking.release()

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
        """Begin an ingest."""
        with _in_domain():
            view = self._fresh_view()  # the types of new columns depend on those that are there now
        writer = HBaseWriter(self.gateway, self._catalog, view, self._fresh_view, self.cutouts, self._prefix)
        try:
            with _in_domain():
                yield writer
        finally:
            writer.close()

    def close(self) -> None:
        """Stop the bridge."""
        self.gateway.close()
        self._scratch.cleanup()

    def _fresh_view(self) -> HBaseView:
        self.refresh()
        return self.view()

    def _is_current(self, table: str, schema: TableSchema) -> bool:
        """Return whether a schema is still that of its table; if not, refresh."""
        with _in_domain():
            if self._find_table(table, self._prefix + table, enabled=True) == schema:
                return True
        self.refresh()
        return False

    def _count(self, table: str, cells: Mapping[str, int]) -> None:
        with self._lock:
            counted = self._left_out.setdefault(table, Counter())
            for column, count in cells.items():
                if column not in counted:
                    log.warning("%s has cells of %s, which no schema row names; they are left out", table, column)
                counted[column] += count

    def _find(self) -> Known:
        schemas: dict[str, TableSchema] = {}
        faults: dict[str, AlertflightError] = {}
        with _in_domain():
            names = {name: self._prefix + name for name in self._catalog.tables}
            states = self.gateway.call("tables", names=list(names.values()))
            for name, full in names.items():
                try:
                    schemas[name] = self._find_table(name, full, states.get(full))
                except AlertflightError as fault:
                    faults[name] = fault
        return Known(schemas, faults, {name: schema.columns for name, schema in schemas.items()})

    def _find_table(self, name: str, full: str, enabled: bool | None) -> TableSchema:
        if not enabled:
            why = "does not exist" if enabled is None else "is disabled"
            raise TableRefused(f"the table {full} {why} in HBase", field="table", value=name)
        rows = self.gateway.call("schema-rows", table=full)
        return find_schema(self._catalog.table(name), rows, self._catalog, self._schema)


def _reasons(known: Known) -> dict[str, str]:
    return {name: fault.message for name, fault in known.faults.items()}


@contextmanager
def _in_domain() -> Iterator[None]:
    try:
        yield
    except BridgeFault as fault:
        raise domain_error(fault) from fault
