"""Commands of a broker or administrator to HBase, without the product: a running `java/ClusterAdmin.java`."""

from __future__ import annotations

import json
import subprocess
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from clusters import Cluster

PROGRAM = Path(__file__).parents[1] / "java" / "ClusterAdmin.java"
FLAGS = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.net.preferIPv4Stack=true",
    "-Dalertflight.level=error",
)


class Stored(NamedTuple):
    """One cell of HBase: its bytes, and the time of writing, ms."""

    value: bytes
    written: int


@dataclass(frozen=True)
class Region:
    """A region: its encoded name, its server (empty if none) and its keys."""

    name: str
    server: str
    start: bytes
    stop: bytes


class ClusterAdmin:
    """Commands to a cluster, one at a time; each returns when HBase says that it is done.

    A command that HBase refuses raises an AssertionError with what it said. Safe to use from several threads.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._lock = threading.Lock()
        command = ["java", *FLAGS, "-cp", cluster.classpath, str(PROGRAM)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def create(self, *tables: str, families: Iterable[str] = ("i", "d"), splits: Iterable[bytes] = ()) -> None:
        """Create tables, all at once."""
        self._ask("create", tables=list(tables), families=list(families), splits=[_encoded(key) for key in splits])

    def drop(self, *tables: str) -> None:
        """Disable and delete tables, all at once."""
        self._ask("drop", tables=list(tables))

    def empty(self, *tables: str) -> None:
        """Delete all rows. Later writes are visible, except with an old timestamp to a deleted key."""
        self._ask("empty", tables=list(tables))

    def snapshot(self, *tables: str, suffix: str) -> None:
        """Take a snapshot of each table, named like the table with a suffix."""
        self._ask("snapshot", tables=list(tables), suffix=suffix)

    def clone(self, snapshots: Mapping[str, str]) -> None:
        """Create tables from snapshots, by name."""
        self._ask("clone", tables=dict(snapshots))

    def forget(self, prefix: str) -> None:
        """Drop the tables and snapshots whose names begin with a prefix."""
        self._ask("forget", prefix=prefix)

    def expire(self, server: str) -> None:
        """Report a dead RegionServer to HBase, without waiting for the timeout of its ZooKeeper session."""
        self._ask("expire", server=server)

    def disable(self, table: str) -> None:
        self._ask("disable", table=table)

    def enable(self, table: str) -> None:
        self._ask("enable", table=table)

    def flush(self, table: str) -> None:
        self._ask("flush", table=table)

    def put(self, table: str, key: bytes | str, cells: Mapping[str, bytes], written: int | None = None) -> None:
        """Write cells of one row, by `family:qualifier`; the server sets the timestamp (ms) unless it is given."""
        self.put_rows(table, {_bytes(key): cells}, written)

    def put_rows(self, table: str, rows: Mapping[bytes, Mapping[str, bytes]], written: int | None = None) -> None:
        behind = [] if written is None else [written]
        cells = [
            [_encoded(key), *column.split(":", 1), _encoded(value), *behind]
            for key, row in rows.items()
            for column, value in row.items()
        ]
        self._ask("put", table=table, cells=cells)

    def put_schema(self, table: str, key: str, types: Mapping[str, str]) -> None:
        """Write a schema row: the name of each column's type, as text."""
        self.put(table, key, {column: kind.encode() for column, kind in types.items()})

    def delete(self, table: str, key: bytes | str, column: str | None = None) -> None:
        """Delete a row, or all versions of one of its cells."""
        family, _, qualifier = (column or "").partition(":")
        named = {"family": family, "qualifier": qualifier} if column else {}
        self._ask("delete", table=table, key=_encoded(_bytes(key)), **named)

    def split(self, table: str, key: bytes | str) -> None:
        """Request a split at a key; it is done when `regions` shows it."""
        self._ask("split", table=table, key=_encoded(_bytes(key)))

    def move(self, region: str, server: str) -> None:
        """Move a region (encoded name) to a server (as in `servers`)."""
        self._ask("move", region=region, server=server)

    def tables(self) -> list[str]:
        return [str(name) for name in self._ask("tables")]

    def servers(self) -> list[str]:
        """Return the live RegionServers as `host,port,startcode`."""
        return [str(name) for name in self._ask("servers")]

    def regions(self, table: str) -> list[Region]:
        found = self._ask("regions", table=table)
        return [Region(one["name"], one["server"], b64decode(one["start"]), b64decode(one["stop"])) for one in found]

    def rows(self, table: str, prefix: bytes | str = b"") -> dict[bytes, dict[str, Stored]]:
        """Return the newest version of every cell, by row key and `family:qualifier`, in HBase's order."""
        rows: dict[bytes, dict[str, Stored]] = {}
        for key, column, value, written in self._cells(table, prefix, versions=False):
            rows.setdefault(b64decode(key), {})[column] = Stored(b64decode(value), written)
        return rows

    def versions(self, table: str, prefix: bytes | str = b"") -> list[tuple[bytes, str, Stored]]:
        """Return all versions of cells that HBase still has."""
        found = self._cells(table, prefix, versions=True)
        return [(b64decode(key), column, Stored(b64decode(value), written)) for key, column, value, written in found]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def _cells(self, table: str, prefix: bytes | str, *, versions: bool) -> list[Any]:
        named = {"prefix": _encoded(_bytes(prefix))} if prefix else {}
        return list(self._ask("cells", table=table, versions=versions, **named))

    def _ask(self, command: str, **words: Any) -> Any:
        line = json.dumps({"command": command, **words})
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answered = self._process.stdout.readline()
        assert answered, f"ClusterAdmin ended with {self._process.poll()}"
        answer = json.loads(answered)
        assert "reply" in answer, f"{command}: {answer['fault']}"
        return answer["reply"]


def _bytes(key: bytes | str) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _encoded(key: bytes) -> str:
    return b64encode(key).decode()
