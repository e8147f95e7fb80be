"""Stores for tests in one HBase: each has its own tables, all share one gateway."""

from __future__ import annotations

import contextlib
import copy
import itertools
import threading
from collections.abc import Iterable
from typing import Any

import hdfs_native
from archives import Opened, opened
from cluster_admin import ClusterAdmin
from clusters import Cluster

from flight_server.catalog.catalog import load_catalog
from flight_server.service.stores import open_blocks, open_store
from flight_server.settings import Settings
from flight_server.storage.hbase import HBaseStore
from flight_server.storage.hbase.table_names import table_names

TABLES = load_catalog().surveys["ztf"].tables  # other surveys' are made by the ingests that bring their alerts
MADE_TOGETHER = 2  # sets of tables: a table takes most of a second alone, and a small part of it among many


class HBaseStores:
    """Factory of stores.

    A store of the product starts a gateway and makes its tables, which takes some seconds: what a test is about.
    For others there is `open`, with the gateway of the first store, since nothing in it belongs to one store; and
    `prefix_with_tables`, since to delete the rows of tables takes a small part of the time that new ones take.
    """

    def __init__(self, cluster: Cluster, admin: ClusterAdmin, run: str) -> None:
        self.cluster = cluster
        self.admin = admin
        self._run = run
        self._numbers = itertools.count(1)
        self._ready: list[str] = []
        self._used: list[str] = []
        self._first: HBaseStore | None = None
        self._lock = threading.Lock()

    def prefix(self) -> str:
        """Return an unused prefix of table names."""
        return f"{self._run}-{next(self._numbers)}."

    def prefix_with_tables(self) -> str:
        """Return a prefix with empty tables, without schema rows, and without files in HDFS.

        Other tests may have had them. So whoever changes more than their rows, or writes rows with times of their
        own, makes tables under a new prefix instead.
        """
        with self._lock:
            if not self._ready:
                self._ready = self._emptied() or self._made()
            return self._ready.pop(0)

    def give_back(self, prefixes: Iterable[str]) -> None:
        """Release the tables with these prefixes from `prefix_with_tables`."""
        self._used += prefixes

    def open(self, prefix: str, **sections: dict[str, Any]) -> Opened:
        """Open a store whose gateway is shared; it need not be closed."""
        settings = self.cluster.settings(prefix, **sections)
        with self._lock:
            if self._first is None:
                self._first = self.open_alone(prefix).store
        return opened(with_tables(self._first, settings), settings)

    def open_alone(self, prefix: str, **sections: dict[str, Any]) -> Opened:
        """Open a store like a server, with its own gateway; the caller closes it."""
        settings = self.cluster.settings(prefix, **sections)
        return opened(open_store(settings, load_catalog()), settings)

    def close(self, *, drop: bool) -> None:
        """Stop the gateway; drop the tables only if the cluster goes on running."""
        if self._first is not None:
            self._first.close()
        if drop:
            self.admin.forget(self._run)

    def drop_others(self, prefix: str) -> None:
        """Drop all tables of this run except those with a prefix; their stores cannot be used any more."""
        self._ready, self._used = [], []
        tables = [name for name in self.admin.tables() if name.startswith(self._run) and not name.startswith(prefix)]
        if tables:
            self.admin.drop(*tables)

    def _emptied(self) -> list[str]:
        held = self.admin.tables()
        # tables of other surveys, which a test has brought, would be in the answers of the next one
        own = {prefix + name for prefix in self._used for name in TABLES}
        others = [name for name in held if name not in own]
        found = [prefix for prefix in self._used if not any(name.startswith(prefix) for name in others)]
        self._used = []
        self.admin.empty(*(prefix + name for prefix in found for name in TABLES))
        hdfs = hdfs_native.Client(self.cluster.hdfs)
        for prefix in found:
            with contextlib.suppress(FileNotFoundError):
                hdfs.delete(f"/{prefix}", recursive=True)
        return found

    def _made(self) -> list[str]:
        found = [self.prefix() for _ in range(MADE_TOGETHER)]
        tables = TABLES.values()
        for families in {table.families for table in tables}:
            names = [table.name for table in tables if table.families == families]
            self.admin.create(*(prefix + name for prefix in found for name in names), families=families)
        return found


def with_tables(first: HBaseStore, settings: Settings) -> HBaseStore:
    """Return a store of other tables that has the gateway of the first."""
    store = copy.copy(first)
    store._names = table_names(load_catalog(), settings.hbase.prefix, settings.hbase.tables)
    store._schema = settings.hbase.schema
    store._left_out = {}
    store.cutouts = open_blocks(settings)
    store.refresh()
    return store
