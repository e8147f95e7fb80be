"""A server over HBase in this process, with access to its gateway and to its rows in transit."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
from archives import Answered, ask, digest
from clusters import Cluster
from hbase_stores import with_tables
from waiting import wait_until

from flight_server.catalog.catalog import load_catalog
from flight_server.execution.archive import Archive
from flight_server.flight import FlightServer
from flight_server.protocol.errors import AlertflightError, from_info
from flight_server.service.stores import open_blocks
from flight_server.settings import Settings
from flight_server.storage.hbase import HBaseStore
from flight_server.storage.hbase.table_names import table_names
from flight_server.storage.hbase.view import HBaseView
from flight_server.storage.scans import Rows, Scan
from hbase_bridge import BridgeFault, GatewaySettings

Fields = Mapping[str, Any]
SECONDS = 120.0


class Passing:
    """The row store with a hook: `then` is called for each batch from the gateway.

    It hears of 0 before a scan begins, of -1 behind its last batch.
    """

    def __init__(self, store: HBaseStore) -> None:
        self._store = store
        self.then: Callable[[int], None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def view(self) -> _PassingView:
        return _PassingView(self._store.view(), self)

    def hear(self, count: int) -> None:
        if self.then is not None:
            self.then(count)


class _PassingView:
    def __init__(self, view: HBaseView, passing: Passing) -> None:
        self._view = view
        self._passing = passing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def scan(self, scan: Scan) -> Iterator[Rows]:
        self._passing.hear(0)
        for count, rows in enumerate(self._view.scan(scan), start=1):
            yield rows
            self._passing.hear(count)
        self._passing.hear(-1)


@dataclass(frozen=True)
class Broken:
    """An answer that ended with an error, and its rows until then."""

    error: AlertflightError
    table: pa.Table | None
    cursor: str | None


class Rig:
    """The server, its store and its gateway, which other stores may share."""

    def __init__(
        self, settings: Settings, reached_at: Callable[[int], int] = lambda port: port, beside: HBaseStore | None = None
    ) -> None:
        self.settings = settings
        catalog = load_catalog()
        self._owns_gateway = beside is None
        self.store = _own_store(settings, reached_at) if beside is None else with_tables(beside, settings)
        blocks = self.store.cutouts
        self.gateway = self.store.gateway
        self.passing = Passing(self.store)
        self.archive = Archive(catalog, self.passing, blocks, settings)
        self.server = FlightServer(self.archive, settings)
        self.url = f"grpc://127.0.0.1:{self.server.port}"

    @contextlib.contextmanager
    def client(self) -> Iterator[fl.FlightClient]:
        with fl.connect(self.url) as client:
            yield client

    def ask(self, fields: Fields) -> Answered:
        with self.client() as client:
            return ask(client, **fields)

    def try_to_ask(self, fields: Fields) -> Answered | Broken:
        """Send a ticket; return the answer, or its rows before an error of the server."""
        with self.client() as client:
            return read_what_comes(client, fields)

    def pid(self) -> int:
        """Return the process of the gateway, once there is one."""
        wait_until(lambda: self.gateway.pid is not None, "a gateway", SECONDS)
        pid = self.gateway.pid
        return pid if pid is not None else self.pid()

    def health(self) -> dict[str, int]:
        """Return the status of the gateway; works during its restart."""
        found: dict[str, int] = {}

        def answers() -> bool:
            try:
                found.update(self.gateway.call("health"))
            except BridgeFault:
                return False
            return True

        wait_until(answers, "the gateway says how it is", SECONDS)
        return found

    def is_idle(self) -> bool:
        """Return whether the gateway has nothing open."""
        health = self.health()
        return not (health["runs"] or health["scanners"] or health["frame_bytes"])

    def rest(self) -> dict[str, int]:
        """Wait until the gateway has nothing open; return its status."""
        wait_until(self.is_idle, f"nothing is open in the gateway: {self.health()}", SECONDS)
        return self.health()

    def close(self) -> None:
        """Stop it; further calls do nothing."""
        self.passing.then = None
        self.server.shutdown()
        if self._owns_gateway:
            self.store.close()


def _own_store(settings: Settings, reached_at: Callable[[int], int]) -> HBaseStore:
    hbase, gateway = settings.hbase, settings.gateway
    process = GatewaySettings(
        zookeeper=hbase.zookeeper,
        properties=hbase.properties,
        heap=gateway.heap,
        frame_bytes=gateway.arrow_bytes,
        patience=gateway.patience,
        call_timeout=gateway.call_timeout,
        reached_at=reached_at,
    )
    names = table_names(load_catalog(), hbase.prefix, hbase.tables)
    return HBaseStore(load_catalog(), process, open_blocks(settings), names=names, threads=hbase.scan_threads)


def read_what_comes(client: fl.FlightClient, fields: Fields) -> Answered | Broken:
    batches: list[pa.RecordBatch] = []
    messages: list[tuple[int, dict[str, Any]]] = []
    cursor = None
    try:
        reader = client.do_get(fl.Ticket(json.dumps(dict(fields)).encode()))
        for chunk in reader:
            said = json.loads(chunk.app_metadata.to_pybytes()) if chunk.app_metadata else {}
            cursor = said.get("cursor") or cursor
            messages.append((len(chunk.data), said))
            batches.append(chunk.data)
    except fl.FlightError as error:
        domain = from_info(error.extra_info)
        assert domain is not None, f"an error that is none of the server's: {error}"
        return Broken(domain, pa.Table.from_batches(batches) if batches else None, cursor)
    return Answered(pa.Table.from_batches(batches), messages, messages[-1][1])


@dataclass(frozen=True)
class Truth:
    """The expected answers, from another store with the same alerts."""

    answers: Mapping[str, tuple[Fields, pa.Table, str]]

    def fields(self, name: str) -> Fields:
        return self.answers[name][0]

    def table(self, name: str) -> pa.Table:
        return self.answers[name][1]

    def check(self, name: str, answered: Answered | Broken) -> None:
        """Check that each row is in the answer once, and unchanged."""
        assert isinstance(answered, Answered), f"{name}: {answered.error!r}"
        fields, table, expected = self.answers[name]
        assert answered.record["complete"]
        assert answered.record["rows"] == len(table) == len(answered.table)
        assert digest(answered.table) == expected
        if fields.get("digest"):
            assert answered.record["digest"] == expected

    def check_beginning(self, name: str, broken: Broken) -> int:
        """Check that an answer is the beginning of the whole one; return its number of rows."""
        if broken.table is None:
            return 0
        rows = len(broken.table)
        assert digest(broken.table) == digest(self.table(name).slice(0, rows))
        assert rows == 0 or broken.cursor, "rows came without a cursor"
        return rows


def points_to_kill_at(points: int, kills: int, seed: str) -> list[int]:
    """Return random positions in an answer, before its first to after its last batch: one in each of `kills` equal parts."""
    draw = random.Random(seed)
    return [int((turn + draw.random()) * points / kills) for turn in range(kills)]


def files_open() -> dict[int, str]:
    """Return the files that this process has open."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found[int(entry.name)] = str(entry.readlink())
    return found


def threads_running() -> list[str]:
    """Return the threads that Python code of this process started."""
    return sorted(thread.name for thread in threading.enumerate() if not thread.name.startswith("Dummy"))


def resident_bytes(pid: int, what: str = "VmRSS") -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) * 1024


def open_rig(cluster: Cluster, prefix: str, reached_at: Callable[[int], int] | None = None, **sections: dict[str, Any]) -> Rig:
    settings = cluster.settings(prefix, **sections)
    return Rig(settings) if reached_at is None else Rig(settings, reached_at)
