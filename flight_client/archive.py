"""An archive, and the queries that it answers."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from alertflight_config import DEFAULT_TABLE

from flight_client.answer import Answer
from flight_client.bad_rows import BadRows
from flight_client.calls import act
from flight_client.connections import disconnect
from flight_client.endpoints import MAX_QUERY_BYTES, schema_of, time_scale
from flight_client.exchange import EMPTY, Exchange, batches_of_ids, batches_of_places
from flight_client.moments import MOMENTS, moment
from flight_client.notices import warn
from flight_client.object_ids import IdList, id_list, plain_ids, refuse_list_in_text
from flight_client.parallel import Ahead
from flight_client.positions import Positions
from flight_client.profiles import find_profile
from flight_client.retries import Retries
from flight_client.scalars import plain_field
from flight_client.values import angle, angles, centre, centres
from flight_server.protocol.errors import BadValue
from flight_server.protocol.query import Query
from flight_server.protocol.ticket_json import parse_exchange, parse_ticket

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

    def objects(
        self, ids: object, *, table: str = DEFAULT_TABLE, missing: str = "list", bad: str = "raise", **fields: Any
    ) -> Answer:
        """Select objects by their IDs.

        Parameters
        ----------
        ids
            One ID or any number of them: a list, an array, a Series, or a frame with the ID column of the table. The rows
            come in the order of the IDs (those of a set are sorted), and an ID given twice is answered once. Without any,
            the answer has no rows, and a warning says so.
        table
            The table.
        missing
            How IDs without rows are reported: `list` adds them to `missing` of the answer, `raise` raises MissingObjects
            at the end of a read.
        bad
            How rows without an ID (None, NaN, an empty text) are handled: `raise` raises an error that names the first,
            `skip` leaves them out, warns, and lists them in `record.skipped` and `notes` of the answer.
        **fields
            Other fields of the ticket, such as `columns=["i:jd", "i:magpsf"]`, `cutouts=["Science"]`, `start`, `stop`
            and `upper_limits`.
        """
        return self.select(table=table, missing=missing, bad=bad, ids=ids, **fields)

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

    def select(self, *, table: str = DEFAULT_TABLE, missing: str = "list", bad: str = "raise", **fields: Any) -> Answer:
        """Select by any fields of a ticket; `class_` stands for `class`.

        Raises
        ------
        AlertflightError
            A field does not exist or has an invalid value. What only the server can check, such as the names of
            columns, is raised by the first read.
        """
        if missing not in {"list", "raise"}:
            raise BadValue(f"missing must be list or raise, not {missing!r:.40}", field="missing", value=missing)
        ids = fields.pop("ids", None)
        found = IdList([]) if ids is None else id_list(ids, partial(_id_column, self.url, table), bad)
        # a ticket without IDs is refused, an answer to none of them is not
        selected = {} if ids is None else {"ids": found.ids or ["none"]}
        query = parse_ticket(json.dumps({"table": table} | selected | self._fields(fields, table)).encode(), MAX_QUERY_BYTES)
        if ids is not None and not found.ids:
            query = replace(query, ids=())
            warn(EMPTY)
        return Answer(
            self.url,
            query,
            self._ahead,
            self._retries,
            self._progress,
            strict=missing == "raise",
            notes=tuple(found.notes),
            skipped=tuple(found.skipped),
        )

    def exchange(self, ids: object, *, table: str = DEFAULT_TABLE, bad: str = "raise", **fields: Any) -> Exchange:
        """Select objects by a stream of IDs of any length, in bounded memory.

        Parameters
        ----------
        ids
            Any iterable, such as a generator, consumed as rows are read; or what `objects` takes. Each ID is answered,
            repeated or not, and the column `index` of a row holds the position of its ID, from 0.
        table, bad, **fields
            As in `objects`. Skipped rows keep their numbers.
        """
        notes: list[str] = []
        rows = BadRows(bad, "ids")
        query = self._exchanged(table, fields, {"all": True})
        sent = batches_of_ids(plain_ids(ids, partial(_id_column, self.url, table), notes, rows))
        return Exchange(self.url, query, sent, self._retries, self._progress, bad=rows, notes=notes)

    def cones(self, *places: Any, radius: Any, table: str = DEFAULT_TABLE, bad: str = "raise", **fields: Any) -> Exchange:
        """Select objects around many positions.

        Parameters
        ----------
        *places
            A SkyCoord array, or arrays of right ascension and declination: degrees (ICRS), or Quantities.
        radius
            Arcsec, or a Quantity; one for all, or one each.
        bad
            How positions that are NaN, masked or out of range are handled: `raise` raises an error that names the first
            before anything is sent, `skip` leaves them out, warns, and lists them in `record.skipped` and `notes`.
        table, **fields
            As in `objects`. The column `index` of a row holds the number of its position, from 0, skipped ones included.
        """
        ra, dec = centres(places)
        rows = BadRows(bad, "positions")
        sent = batches_of_places(Positions.checked(ra, dec, angles(radius, "arcsec", "radius"), rows))
        query = self._exchanged(table, fields, {"cone": {"ra": 0.0, "dec": 0.0, "radius": 0.0}})
        return Exchange(self.url, query, sent, self._retries, self._progress, bad=rows)

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return what each table holds, and by what it can be queried."""
        return dict(act(self.url, "tables"))

    def schema(self, table: str = DEFAULT_TABLE) -> list[dict[str, Any]]:
        """Return the columns of a table, with cutouts and derived ones: name, type, unit, description, origin."""
        return list(act(self.url, "schema", json.dumps({"table": table})))

    def info(self) -> dict[str, Any]:
        """Return what the server is: its name, versions, store and surveys."""
        return dict(act(self.url, "server-info"))

    def _exchanged(self, table: str, fields: dict[str, Any], selection: dict[str, Any]) -> Query:
        """Return the query of an exchange, with a selection that stands for its input."""
        given = self._fields(fields, table)
        query = parse_ticket(json.dumps({"table": table} | selection | given).encode())
        parse_exchange({"table": table} | given)  # raises errors now, not at the first read
        return query

    def _fields(self, fields: dict[str, Any], table: str) -> dict[str, Any]:
        return {name.removesuffix("_"): self._plain(name, value, table) for name, value in fields.items() if value is not None}

    def _plain(self, name: str, value: Any, table: str) -> Any:
        """Return a value as a JSON type."""
        if name in MOMENTS:
            return moment(name, value, lambda: time_scale(self.url, table))
        plain = plain_field(name, value)
        if name in LISTS:
            plain = [plain] if isinstance(plain, str) else plain
            for text in plain if isinstance(plain, list) else ():
                if isinstance(text, str):
                    refuse_list_in_text(text, name)
        return plain


@lru_cache(maxsize=256)
def _id_column(url: str, table: str) -> str:
    """Return the name of the ID column of a table, from the server."""
    return str(schema_of(url, Query(table=table, all=True, layout="nested")).names[0])
