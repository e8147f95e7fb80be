"""The settings as typed values, checked by msgspec. The `description` of a type completes the error "SETTING must be ..."."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

__all__ = [
    "Compaction",
    "Cutouts",
    "GatewayProcess",
    "Hbase",
    "Hdfs",
    "Ingest",
    "Limits",
    "Scrub",
    "Server",
    "Settings",
    "Tickets",
]

MAX_PORT = 65_535
MAX_SIDE = 32_767  # of a cutout, whose shape is sent as int16

Port = Annotated[int, Meta(ge=0, le=MAX_PORT, description=f"an integer from 0 to {MAX_PORT}")]
Count = Annotated[int, Meta(ge=0, description="an integer, zero or more")]
Positive = Annotated[int, Meta(ge=1, description="an integer, one or more")]
# integers are not converted to floats
Seconds = Annotated[
    Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)], Meta(description="a number of seconds, zero or more")
]
SomeSeconds = Annotated[
    Annotated[int, Meta(gt=0)] | Annotated[float, Meta(gt=0)], Meta(description="a number of seconds above zero")
]
Texts = Annotated[tuple[str, ...], Meta(description="a list of strings")]
TextMap = Annotated[Mapping[str, str], Meta(description="a mapping of strings to strings")]
Side = Annotated[int, Meta(ge=1, le=MAX_SIDE)]
Shape = Annotated[tuple[Side, Side], Meta(description=f"two integers from 1 to {MAX_SIDE}, rows and columns")]


@dataclass(frozen=True, slots=True)
class Server:
    """The address of the server; `locations` are the URIs of all servers of the same archive, including this one."""

    host: str
    port: Port
    locations: Texts


@dataclass(frozen=True, slots=True)
class Tickets:
    """Tickets: size limit and signatures.

    `signing_key_file` has the keys that sign the tickets of plans. With `signed_only`, nothing is read for tickets without
    a signature. `lifetime` is the validity of a signed ticket, seconds.
    """

    max_bytes: Count
    signing_key_file: str | None
    signed_only: bool
    lifetime: Positive


@dataclass(frozen=True, slots=True)
class Ingest:
    """Uploads: `do_put` is `allow` to accept uploads of alerts, else `deny`."""

    do_put: Literal["deny", "allow"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one server.

    Concurrent streams, seconds per answer, seconds without progress until a stream is ended, cutouts per answer.
    """

    streams: Positive
    seconds: SomeSeconds
    stall_seconds: SomeSeconds
    cutouts: Positive


@dataclass(frozen=True, slots=True)
class Cutouts:
    """Cutouts: shapes and limits.

    `array_shape` has the rows and columns of cutouts as arrays, by survey; `max_unpacked` is the most bytes of an unpacked
    cutout; `threads` is the number of blocks that are read concurrently.
    """

    array_shape: Mapping[str, Shape]
    max_unpacked: Count
    threads: Count


@dataclass(frozen=True, slots=True)
class Compaction:
    """Compaction in the background: whether it runs, and the seconds between two runs."""

    background: bool
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class Scrub:
    """The scrub of a served store: the seconds in which all of its files are read once; 0 for none."""

    seconds: Seconds


@dataclass(frozen=True, slots=True)
class Hbase:
    """HBase and its tables.

    `zookeeper` is a host and port, `prefix` the prefix of the table names. `tables` has whole names of tables, `schema` the
    key of the schema row to use (or `newest`), `scan_threads` is the number of concurrent fetches of one scan, and
    `properties` are further settings of the HBase client.
    """

    zookeeper: str
    prefix: str
    tables: TextMap
    schema: str
    scan_threads: Count
    properties: TextMap


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """The Java process in front of HBase: heap, bytes of record batches in flight, patience and call timeout (s), jar file.

    After `patience` seconds a call that waits for HBase makes it ask the services whether they are there.
    """

    heap: str
    arrow_bytes: Count
    patience: SomeSeconds
    call_timeout: Seconds
    jar: str | None


@dataclass(frozen=True, slots=True)
class Hdfs:
    """HDFS, where the blocks of cutouts are.

    `url` is the name node, `roots` are the folders that may contain blocks, `rewrite` has replacements of prefixes of their
    URIs, `archive` is the folder in which ingest writes new blocks, and `properties` are further settings of the HDFS
    client.
    """

    url: str
    roots: Texts
    rewrite: TextMap
    archive: str
    properties: TextMap


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one process."""

    store: Literal["embedded", "hbase"]
    data: str | None
    server: Server
    tickets: Tickets
    ingest: Ingest
    limits: Limits
    compaction: Compaction
    scrub: Scrub
    cutouts: Cutouts
    hbase: Hbase
    gateway: GatewayProcess
    hdfs: Hdfs

    @property
    def place(self) -> str:
        """The location of the store, for messages."""
        return str(self.folder) if self.store == "embedded" else f"HBase at {self.hbase.zookeeper}"

    @property
    def folder(self) -> Path:
        """The folder of an embedded store: `data`, or the user's data folder."""
        if self.data:
            return Path(self.data).expanduser()
        home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        return Path(home) / "alertflight"
