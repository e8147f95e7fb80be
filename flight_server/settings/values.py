"""The settings as typed values. msgspec checks each field; its `description` says what it must be, for the error."""

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
    "Server",
    "Settings",
    "Tickets",
]

MAX_PORT = 65_535
MAX_SIDE = 32_767  # of a cutout, whose shape travels as int16

Port = Annotated[int, Meta(ge=0, le=MAX_PORT, description=f"an integer from 0 to {MAX_PORT}")]
Count = Annotated[int, Meta(ge=0, description="an integer, zero or more")]
Positive = Annotated[int, Meta(ge=1, description="an integer, one or more")]
# an integer stays one
Seconds = Annotated[
    Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)], Meta(description="a number of seconds, zero or more")
]
Texts = Annotated[tuple[str, ...], Meta(description="a list of texts")]
TextMap = Annotated[Mapping[str, str], Meta(description="a mapping of texts to texts")]
Side = Annotated[int, Meta(ge=1, le=MAX_SIDE)]
Shape = Annotated[tuple[Side, Side], Meta(description=f"two integers from 1 to {MAX_SIDE}, rows and columns")]


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server listens; `locations` are the URIs at which clients find what serves the same archive, itself too."""

    host: str
    port: Port
    locations: Texts


@dataclass(frozen=True, slots=True)
class Tickets:
    """Which tickets are read.

    `signing_key_file` holds the keys that plans' tickets are signed with, `signed_only` says that no others are
    answered, and `lifetime` is how long they are good for, seconds.
    """

    max_bytes: Count
    signing_key_file: str | None
    signed_only: bool
    lifetime: Positive


@dataclass(frozen=True, slots=True)
class Ingest:
    """Uploads: `do_put` is `allow` where alerts may be uploaded, else `deny`."""

    do_put: Literal["deny", "allow"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one server.

    Streams at once, seconds that an answer may take, seconds that neither side of an exchange may move, cutouts in one
    answer.
    """

    streams: Count
    seconds: Seconds
    stall_seconds: Seconds
    cutouts: Count


@dataclass(frozen=True, slots=True)
class Cutouts:
    """How cutouts are read.

    `array_shape` has by survey the rows and columns of cutouts as arrays; `max_unpacked` bounds one unpacked cutout,
    bytes; `threads` blocks are read at once.
    """

    array_shape: Mapping[str, Shape]
    max_unpacked: Count
    threads: Count


@dataclass(frozen=True, slots=True)
class Compaction:
    """Whether a server merges segments in the background, and the pause between two runs, seconds."""

    background: bool
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class Hbase:
    """Which tables of which HBase are served.

    `zookeeper` is its host and port, `prefix` what the tables' names begin with, `schema` the key of the schema row
    that has the say (or `newest`), `scan_threads` the fetches of one scan at once, and `properties` are further
    settings of the HBase client.
    """

    zookeeper: str
    prefix: str
    schema: str
    scan_threads: Count
    properties: TextMap


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """The Java process in front of HBase: its heap, the batches on their way (bytes), the longest call (s), its jar."""

    heap: str
    arrow_bytes: Count
    call_timeout: Seconds
    jar: str | None


@dataclass(frozen=True, slots=True)
class Hdfs:
    """Where blocks of cutouts are.

    `url` is the name node, `roots` the folders that blocks may stand in, `rewrite` what the beginnings of their
    URIs are replaced by, `archive` the folder that ingest writes new ones below, and `properties` are further settings
    of the HDFS client.
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
    cutouts: Cutouts
    hbase: Hbase
    gateway: GatewayProcess
    hdfs: Hdfs

    @property
    def place(self) -> str:
        """Where the store is, in words."""
        return str(self.folder) if self.store == "embedded" else f"HBase at {self.hbase.zookeeper}"

    @property
    def folder(self) -> Path:
        """The store's folder: `data`, or the user's data folder."""
        if self.data:
            return Path(self.data).expanduser()
        home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        return Path(home) / "alertflight"
