"""Stores of tests in one HBase: each has tables of its own, all share one gateway."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Iterable
from typing import Any

from archives import Opened, opened
from cluster_admin import ClusterAdmin
from clusters import Cluster

from flight_server.catalogue import load_catalogue
from flight_server.settings import Settings
from flight_server.storage.hbase import HBaseStore
from flight_server.stores import open_blocks, open_store

MADE_TOGETHER = 3  # tables take a second each, or many together two


class HBaseStores:
    """Opens stores.

    A store of the product starts a gateway and makes its tables, which takes some seconds: what a test is about.
    For others there is `open`: empty tables are made for several stores at once, and the gateway is that of the
    first store, since nothing in it belongs to one store.
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
        """Give a prefix that no table has yet."""
        return f"{self._run}-{next(self._numbers)}."

    def prefix_with_tables(self) -> str:
        """Give a prefix whose tables are there, empty and without schema rows."""
        with self._lock:
            if not self._ready:
                self._drop(self._used)
                self._used = []
                self._ready = [self.prefix() for _ in range(MADE_TOGETHER)]
                tables = load_catalogue().tables.values()
                for families in {table.families for table in tables}:
                    names = [table.name for table in tables if table.families == families]
                    self.admin.create(*(prefix + name for prefix in self._ready for name in names), families=families)
            return self._ready.pop(0)

    def give_back(self, prefixes: Iterable[str]) -> None:
        """Say that the tables with these prefixes are not needed any more."""
        self._used += prefixes

    def open(self, prefix: str, **sections: dict[str, Any]) -> Opened:
        """Open a store whose gateway is shared; it need not be closed."""
        settings = self.cluster.settings(prefix, **sections)
        with self._lock:
            if self._first is None:
                self._first = self.open_alone(prefix).store
        return opened(_with_tables(self._first, settings), settings)

    def open_alone(self, prefix: str, **sections: dict[str, Any]) -> Opened:
        """Open a store as a server does, with a gateway of its own; whoever opens it closes it."""
        settings = self.cluster.settings(prefix, **sections)
        return opened(open_store(settings, load_catalogue()), settings)

    def close(self) -> None:
        if self._first is not None:
            self._first.close()
        self._drop([self._run])

    def _drop(self, prefixes: list[str]) -> None:
        # every table takes memory of the RegionServers
        if tables := [name for name in self.admin.tables() if name.startswith(tuple(prefixes))]:
            self.admin.drop(*tables)


def _with_tables(first: HBaseStore, settings: Settings) -> HBaseStore:
    """Give a store of other tables that has the gateway of the first."""
    store = copy.copy(first)
    store._prefix = settings.hbase.prefix
    store._schema = settings.hbase.schema
    store._left_out = {}
    store.cutouts = open_blocks(settings)
    store.refresh()
    return store
