"""An archive, and the queries that it answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from alertflight_config import DEFAULT_TABLE

from flight_client.answer import Answer
from flight_client.calls import act
from flight_client.connections import disconnect
from flight_client.endpoints import MAX_QUERY_BYTES, time_scale
from flight_client.exchange import Exchange, batches_of_ids, batches_of_places
from flight_client.moments import MOMENTS, moment
from flight_client.parallel import Ahead
from flight_client.profiles import find_profile
from flight_client.retries import Retries
from flight_client.values import angle, angles, centre, centres, id_list, plain_ids
from flight_server.protocol.errors import BadValue
from flight_server.protocol.ticket_json import parse_ticket

__all__ = ["Archive", "connect"]

LISTS = ("columns", "cutouts")


def connect(
    url: str | None = None,
    *,
    profile: str | None = None,
    threads: int | None = None,
    read_ahead: int | None = None,
    retries: Retries | None = None,
    progress: bool | None = None,
) -> Archive:
    """Choose an archive to read. Nothing is sent yet.

    Parameters
    ----------
    url
        The server, such as `grpc://127.0.0.1:8815`. By default that of the profile, of the variable ALERTFLIGHT_URL,
        of the default profile in the configuration file, or `grpc://127.0.0.1:8815`.
    profile
        A profile in `alertflight/client.yml` in the configuration folder of the user.
    threads
        How many endpoints of an answer are read in parallel; 4 by default.
    read_ahead
        How many bytes may be read ahead of the consumer; 64 MiB by default.
    retries
        How failed calls are retried.
    progress
        Whether to draw a progress line; None: on a terminal.

    Raises
    ------
    BadValue
        The profile does not exist, or a number is out of range.
    """
    found = find_profile(url, profile)
    usual = Ahead()
    ahead = Ahead(threads or found.threads or usual.threads, read_ahead or found.read_ahead or usual.most_bytes)
    for name, value in (("threads", ahead.threads), ("read_ahead", ahead.most_bytes)):
        if value < 1:
            raise BadValue(f"{name} must be positive, not {value}", field=name, value=value)
    return Archive(found.url, ahead, retries, progress)


class Archive:
    """The tables of one server, or of several with the same data.

    Connections are opened on demand, shared within a process, and opened again after a fork. An archive can be pickled.

    Parameters
    ----------
    url
        The server that plans queries.
    ahead
        How many endpoints are read in parallel, and how many bytes are read ahead.
    retries, progress
        As in `connect`.
    """

    def __init__(
        self, url: str, ahead: Ahead | None = None, retries: Retries | None = None, progress: bool | None = None
    ) -> None:
        self.url = url
        self._ahead = ahead or Ahead()
        self._retries = retries
        self._progress = progress

    def __repr__(self) -> str:
        return f"<Archive at {self.url}>"

    def __enter__(self) -> Self:
        """Return the archive, which is closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        disconnect(self.url)

    def objects(self, ids: object, *, table: str = DEFAULT_TABLE, missing: str = "list", **fields: Any) -> Answer:
        """Select objects by their IDs.

        Parameters
        ----------
        ids
            One ID or any number of them: a list, an array, a Series. The rows come in the order of the IDs, and an ID
            given twice is answered once.
        table
            The table.
        missing
            How IDs without rows are reported: `list` adds them to `missing` of the answer, `raise` raises MissingObjects
            at the end of a read.
        **fields
            Other fields of the ticket, such as `columns=["i:jd", "i:magpsf"]`, `cutouts=["Science"]`, `start`, `stop`
            and `upper_limits`.
        """
        return self.select(table=table, missing=missing, ids=ids, **fields)

    def cone(self, *place: Any, radius: Any, table: str = DEFAULT_TABLE, **fields: Any) -> Answer:
        """Select objects by their position on the sky.

        Parameters
        ----------
        *place
            A SkyCoord, or right ascension and declination: degrees (ICRS), or Quantities.
        radius
            Arcsec, or a Quantity.
        table, **fields
            As in `objects`.
        """
        ra, dec = centre(place)
        given = {"ra": ra, "dec": dec, "radius": angle(radius, "arcsec", "cone.radius")}
        return self.select(table=table, cone=given, **fields)

    def skymap(self, source: str | Path | bytes, *, level: float = 0.9, table: str = DEFAULT_TABLE, **fields: Any) -> Answer:
        """Select objects in a credible region of a probability map, such as that of a gravitational-wave event.

        Parameters
        ----------
        source
            A FITS file with HEALPix pixels, or the bytes of one.
        level
            The credible level.
        table, **fields
            As in `objects`.
        """
        from flight_client.skymaps import read_skymap

        held = read_skymap(Path(source) if isinstance(source, str) else source, level)
        return self.select(table=table, skymap=held, **fields)

    def all(self, table: str, **fields: Any) -> Answer:
        """Select a whole table."""
        return self.select(table=table, all=True, **fields)

    def select(self, *, table: str = DEFAULT_TABLE, missing: str = "list", **fields: Any) -> Answer:
        """Select by any fields of a ticket; `class_` stands for `class`.

        Raises
        ------
        AlertflightError
            A field does not exist or has an invalid value. What only the server can check, such as the names of
            columns, is raised by the first read.
        """
        if missing not in {"list", "raise"}:
            raise BadValue(f"missing must be list or raise, not {missing!r:.40}", field="missing", value=missing)
        given = self._fields(fields, table)
        query = parse_ticket(json.dumps({"table": table} | given).encode(), MAX_QUERY_BYTES)
        return Answer(self.url, query, self._ahead, self._retries, self._progress, strict=missing == "raise")

    def exchange(self, ids: Iterable[Any], *, table: str = DEFAULT_TABLE, **fields: Any) -> Exchange:
        """Select objects by a stream of IDs of any length, in bounded memory.

        Parameters
        ----------
        ids
            Any iterable, such as a generator, consumed as rows are read. Each ID is answered, repeated or not, and the
            column `index` of a row holds the position of its ID, from 0.
        table, **fields
            As in `objects`.
        """
        return self._exchanged(table, fields, batches_of_ids(plain_ids(ids)))

    def cones(self, *places: Any, radius: Any, table: str = DEFAULT_TABLE, **fields: Any) -> Exchange:
        """Select objects around many positions.

        Parameters
        ----------
        *places
            A SkyCoord array, or arrays of right ascension and declination: degrees (ICRS), or Quantities.
        radius
            Arcsec, or a Quantity; one for all, or one each.
        table, **fields
            As in `objects`. The column `index` of a row holds the number of its position, from 0.
        """
        ra, dec = centres(places)
        return self._exchanged(table, fields, batches_of_places(ra, dec, angles(radius, "arcsec", "radius")))

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return what each table holds, and by what it can be queried."""
        return dict(act(self.url, "tables"))

    def schema(self, table: str = DEFAULT_TABLE) -> list[dict[str, Any]]:
        """Return the columns of a table, with cutouts and derived ones: name, type, unit, description, origin."""
        return list(act(self.url, "schema", json.dumps({"table": table})))

    def info(self) -> dict[str, Any]:
        """Return what the server is: its name, versions, store and surveys."""
        return dict(act(self.url, "server-info"))

    def _exchanged(self, table: str, fields: dict[str, Any], sent: Iterator[pa.RecordBatch]) -> Exchange:
        given = self._fields(fields, table)
        parse_ticket(json.dumps({"table": table, "all": True} | given).encode())  # raises errors now, not at the first read
        ticket = json.dumps({"table": table} | given).encode()
        return Exchange(self.url, ticket, sent, self._retries, self._progress)

    def _fields(self, fields: dict[str, Any], table: str) -> dict[str, Any]:
        return {name.removesuffix("_"): self._plain(name, value, table) for name, value in fields.items() if value is not None}

    def _plain(self, name: str, value: Any, table: str) -> Any:
        """Return a value as a JSON type."""
        if name == "ids":
            return id_list(value)
        if name in LISTS:
            return [value] if isinstance(value, str) else list(value)
        if name in MOMENTS:
            return moment(name, value, lambda: time_scale(self.url, table))
        return value
