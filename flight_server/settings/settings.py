"""Settings: packaged defaults, then a file, then the environment, then command line flags."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_origin, get_type_hints
from urllib.parse import urlsplit

import yaml

from flight_server.protocol.errors import BadValue
from flight_server.settings.resources import load_resource, load_yaml

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
    "load_settings",
]

ENVIRONMENT_PREFIX = "ALERTFLIGHT_"
OTHER_VARIABLES = ("ALERTFLIGHT_URL", "ALERTFLIGHT_PROFILE", "ALERTFLIGHT_INJECT")  # the client's and the tests'; no settings
TEXTS = (
    "store",
    "data",
    "host",
    "zookeeper",
    "prefix",
    "schema",
    "heap",
    "jar",
    "url",
    "archive",
    "signing_key_file",
)  # never numbers
FREE = ("properties", "rewrite")  # mappings whose keys are the user's own
STORES = ("embedded", "hbase")
PORTS = range(65_536)
SCHEMES = ("grpc", "grpc+tcp", "grpc+tls")
REUSE = "arrow-flight-reuse-connection://?"  # Flight's word for "where you are connected to already"
DO_PUT = ("deny", "allow")
SIDES = range(1, 32_768)  # of a stamp, whose shape travels as int16


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server listens; `locations` are the URIs at which clients find what serves the same archive, itself too."""

    host: str
    port: int
    locations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tickets:
    """What tickets are taken.

    `signing_key_file` holds the keys that plans' tickets are signed with, `signed_only` says that no others are
    answered, and `lifetime` how long they are good for, seconds.
    """

    max_bytes: int
    signing_key_file: str | None
    signed_only: bool
    lifetime: int


@dataclass(frozen=True, slots=True)
class Ingest:
    """What comes in through a server: `do_put` is `allow` where alerts may be uploaded, else `deny`."""

    do_put: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server gives out.

    That is: streams at once, seconds an answer may take, seconds that neither side of an exchange may move, stamps in one
    answer.
    """

    streams: int
    seconds: float
    stall_seconds: float
    cutouts: int


@dataclass(frozen=True, slots=True)
class Cutouts:
    """How stamps are read.

    `array_shape` gives by survey the rows and columns that stamps have as arrays; `max_unpacked` bounds one unpacked
    stamp, bytes; `threads` blocks are read at once.
    """

    array_shape: Mapping[str, tuple[int, int]]
    max_unpacked: int
    threads: int


@dataclass(frozen=True, slots=True)
class Compaction:
    """Whether a server merges segments in the background, and the pause between two runs, seconds."""

    background: bool
    seconds: float


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
    scan_threads: int
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """The Java process in front of HBase: its heap, the batches on their way (bytes), the longest call (s), its jar."""

    heap: str
    arrow_bytes: int
    call_timeout: float
    jar: str | None


@dataclass(frozen=True, slots=True)
class Hdfs:
    """Where blocks of stamps are.

    `url` is the name node, `roots` the folders that blocks may stand in, `rewrite` what the beginnings of their
    URIs are replaced by, `archive` the folder that ingest writes new ones below, and `properties` are further settings
    of the HDFS client.
    """

    url: str
    roots: tuple[str, ...]
    rewrite: Mapping[str, str]
    archive: str
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one process."""

    store: str
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


def load_settings(
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    data: str | None = None,
    host: str | None = None,
    port: int | None = None,
) -> Settings:
    """Load the settings.

    Parameters
    ----------
    file
        A YAML file with any of the settings; its values stand over the defaults.
    environment
        Variables such as `ALERTFLIGHT_SERVER__PORT` stand over the file.
    data, host, port
        Command line flags; they stand over all else.

    Raises
    ------
    BadValue
        A setting is unknown or has the wrong type; names it.
    """
    merged: dict[str, Any] = load_resource("alertflight.yml")
    if file is not None:
        _overlay(merged, _read(file), str(file))
    _overlay(merged, _from_environment(environment), "the environment")
    settings: Settings = _build(Settings, merged, "")
    if settings.store not in STORES:
        message = f"store must be one of {', '.join(STORES)}, not {settings.store!r:.40}"
        raise BadValue(message, field="store", value=settings.store)
    _check(settings)
    server = replace(settings.server, host=host or settings.server.host, port=settings.server.port if port is None else port)
    if server.port not in PORTS:
        raise BadValue(f"server.port must be from 0 to {PORTS[-1]}, not {server.port}", field="server.port", value=server.port)
    return replace(settings, server=server, data=data or settings.data)


def _check(settings: Settings) -> None:
    """Check what the types do not say."""
    for location in settings.server.locations:
        _check_location(location)
    do_put = settings.ingest.do_put
    if do_put not in DO_PUT:
        message = f"ingest.do_put must be one of {', '.join(DO_PUT)}, not {do_put!r:.40}"
        raise BadValue(message, field="ingest.do_put", value=do_put)
    tickets = settings.tickets
    if tickets.signed_only and tickets.signing_key_file is None:
        message = "tickets.signed_only needs tickets.signing_key_file: without a key no ticket can be signed"
        raise BadValue(message, field="tickets.signed_only", value=True)
    if tickets.lifetime < 1:
        message = "tickets.lifetime must be one second or more: a ticket that is never good serves nobody"
        raise BadValue(message, field="tickets.lifetime", value=tickets.lifetime)


def _check_location(location: str) -> None:
    try:
        parts = urlsplit(location)
        whole = parts.scheme in SCHEMES and parts.hostname and parts.port and location == f"{parts.scheme}://{parts.netloc}"
    except ValueError:  # the port is no number, or the brackets of an address are not closed
        whole = False
    if not whole and location != REUSE:
        message = f"server.locations holds {location!r:.80}; a location is {', '.join(SCHEMES)}, ://, host, : and port"
        raise BadValue(message, field="server.locations", value=location)


def _read(file: Path) -> dict[str, Any]:
    try:
        loaded = load_yaml(file.read_text("utf-8")) or {}
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise BadValue(f"the settings in {file} cannot be read: {error}", field="config", value=file) from error
    if not isinstance(loaded, dict):
        raise BadValue(f"{file} is not a YAML mapping of settings", field="config", value=file)
    return loaded


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # a whole section comes before single settings of it
    for name, text in sorted(environment.items(), key=lambda item: "__" in item[0]):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in OTHER_VARIABLES:
            continue
        section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        try:
            value = text if (key or section) in TEXTS and text != "null" else load_yaml(text)
        except yaml.YAMLError as error:
            raise BadValue(f"the variable {name} cannot be read: {text!r:.60}", field=name, value=text) from error
        held = found.get(section, {})
        if key and not isinstance(held, dict):
            raise BadValue(f"the environment sets {section} both whole and in part", field=name, value=text)
        found[section] = {**held, key: value} if key else value
    return found


def _overlay(base: dict[str, Any], over: Mapping[str, Any], source: str) -> None:
    for key, value in over.items():
        if key not in base:
            raise BadValue(f"{source} sets {key!r}, which is no setting; known are {', '.join(base)}", field=str(key))
        if isinstance(base[key], dict) and key not in FREE:
            if not isinstance(value, dict):
                raise BadValue(f"{source} must give {key} as a mapping", field=str(key), value=value)
            _overlay(base[key], value, source)
        else:
            base[key] = value


def _collection(kind: type, value: Any, name: str) -> Any:
    if kind is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if kind is Mapping and isinstance(value, dict) and all(isinstance(item, str) for pair in value.items() for item in pair):
        return value
    wanted = "a list of texts" if kind is tuple else "a mapping of texts to texts"
    raise BadValue(f"the setting {name} must be {wanted}, not {value!r:.60}", field=name, value=value)


def _shapes(values: Mapping[str, Any], name: str) -> Mapping[str, tuple[int, int]]:
    for survey, value in values.items():
        pair = isinstance(value, list) and len(value) == 2  # noqa: PLR2004
        if not pair or not all(type(side) is int and side in SIDES for side in value):
            wanted = f"two integers from 1 to {SIDES[-1]}, rows and columns"
            raise BadValue(
                f"the setting {name}.{survey} must be {wanted}, not {value!r:.60}", field=f"{name}.{survey}", value=value
            )
    return {survey: (rows, columns) for survey, (rows, columns) in values.items()}


def _build(cls: type, values: Mapping[str, Any], path: str) -> Any:
    hints = get_type_hints(cls)
    built: dict[str, Any] = {}
    for field in fields(cls):
        name, wanted, value = f"{path}{field.name}", hints[field.name], values[field.name]
        if is_dataclass(wanted) and isinstance(wanted, type):
            built[field.name] = _build(wanted, value, f"{name}.")
        elif get_origin(wanted) in {Mapping, tuple}:
            shapes = wanted == Mapping[str, tuple[int, int]]
            built[field.name] = _shapes(value, name) if shapes else _collection(get_origin(wanted), value, name)
        elif isinstance(value, bool) != (wanted is bool) or not isinstance(value, int | float if wanted is float else wanted):
            raise BadValue(f"the setting {name} has the wrong type: {value!r:.60}", field=name, value=value)
        elif isinstance(value, int | float) and not value >= 0:
            raise BadValue(f"the setting {name} must be zero or more, not {value}", field=name, value=value)
        else:
            built[field.name] = value
    return cls(**built)
