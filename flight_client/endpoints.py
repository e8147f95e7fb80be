"""Plans of answers, and reading their endpoints: fallback locations, retries, and resuming from cursors.

A plan is a list of endpoints: small values that can be pickled, sent to other machines and read there, each alone and
in any order. This module loads pyarrow and nothing heavier.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from weakref import WeakSet

import pyarrow as pa
import pyarrow.flight as fl

from flight_client.connections import Interrupted, calling
from flight_client.moments import MOMENTS, moment
from flight_client.records import Record
from flight_client.retries import FIRST, Retries
from flight_client.scalars import plain_field
from flight_client.stream import Piece, Stream
from flight_server.protocol.errors import (
    AlertflightError,
    BackendLost,
    BadValue,
    CorruptData,
    CursorMismatch,
    NotSupported,
    from_info,
)
from flight_server.protocol.query import Query
from flight_server.protocol.ticket_json import parse_ticket

__all__ = ["Endpoint", "Hangup", "Piece", "Plan", "Record", "Retries", "plan", "plans", "read_endpoint"]

IDS_A_CALL = 20_000  # the most that a server plans in one call
MAX_QUERY_BYTES = 1 << 31  # of a query as JSON, before it is split
REUSE = "arrow-flight-reuse-connection://"  # the location that means the server of the plan


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A part of an answer: its ticket, and the servers that serve it."""

    ticket: bytes
    locations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of an answer: its schema, its endpoints in order, and its number of rows if known."""

    schema: pa.Schema
    endpoints: tuple[Endpoint, ...]
    rows: int | None


def plans(url: str, query: Query | dict[str, Any], retries: Retries | None = None) -> Iterator[Plan]:
    """Plan an answer: one plan for each 20,000 IDs of a long list.

    Parameters
    ----------
    url
        The server.
    query
        The query, or the fields of a ticket; `start`, `stop`, `as_of` and `night` may be of any form that `moment` takes.
    retries
        How failed calls are retried.

    Raises
    ------
    NotSupported
        A limit or a cursor is given for more IDs than that; `Answer` reads these one part behind the other.
    AlertflightError
        What the server raised, as the same class.
    """
    whole = query if isinstance(query, Query) else _parsed(url, query)
    if whole.ids == ():
        yield Plan(schema_of(url, whole), (), 0)
        return
    if is_limited_list(whole):
        message = f"an answer with a limit to more than {IDS_A_CALL:,} IDs has no plan: its rows are counted as they are read"
        raise NotSupported(message, field="limit", value=whole.limit)
    if whole.ids is None or len(whole.ids) <= IDS_A_CALL:
        yield plan_part(url, whole, retries or FIRST)
        return
    for first in range(0, len(whole.ids), IDS_A_CALL):
        part = replace(whole, ids=whole.ids[first : first + IDS_A_CALL])
        yield plan_part(url, part, retries or (Retries() if first else FIRST))


def plan(url: str, query: Query | dict[str, Any], retries: Retries | None = None) -> Plan:
    """Plan an answer; concatenates what `plans` yields."""
    parts = list(plans(url, query, retries))
    rows = [part.rows for part in parts if part.rows is not None]
    endpoints = tuple(endpoint for part in parts for endpoint in part.endpoints)
    return Plan(parts[0].schema, endpoints, sum(rows) if len(rows) == len(parts) else None)


def schema_of(url: str, query: Query) -> pa.Schema:
    """Return the schema of an answer, without its plan.

    Raises
    ------
    AlertflightError
        What the server raised, as the same class.
    """
    # any IDs have the same schema, and so has the whole table
    some = None if query.ids is None else query.ids[:1]
    asked = replace(query, ids=some or None, all=query.all or some == (), resume_after=None)

    def ask(server: str) -> pa.Schema:
        with calling(server) as client:
            return client.get_schema(fl.FlightDescriptor.for_command(asked.to_json())).schema

    return checked_schema(FIRST.call((url,), ask))


def checked_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema, or raise the error that the server sent in its place."""
    refused = from_info((schema.metadata or {}).get(b"error", b"")) if not len(schema) else None
    if refused is not None:
        raise refused
    return schema


@lru_cache(maxsize=256)
def time_scale(url: str, table: str) -> str:
    """Return the time scale of a table, from the server.

    Raises
    ------
    BadValue
        The table has times in several scales, or none.
    """

    def ask(server: str) -> pa.Schema:
        with calling(server) as client:
            return client.get_schema(fl.FlightDescriptor.for_path(table)).schema

    fields = checked_schema(FIRST.call((url,), ask))
    scales = {field.metadata[b"time_scale"].decode() for field in fields if b"time_scale" in (field.metadata or {})}
    if len(scales) != 1:
        raise BadValue(f"table {table} has times in {len(scales)} scales: give a number instead of a Time", field="start")
    return str(scales.pop())


def _parsed(url: str, fields: Mapping[str, Any]) -> Query:
    """Return the query of the fields of a ticket, whose values may be Python's."""
    table = str(fields.get("table"))
    given = {
        name: moment(name, value, lambda: time_scale(url, table)) if name in MOMENTS else plain_field(name, value)
        for name, value in fields.items()
    }
    return parse_ticket(json.dumps(given).encode(), MAX_QUERY_BYTES)


def check_types(schema: pa.Schema, found: pa.Schema) -> None:
    """Raise CursorMismatch if rows of one answer have other columns or types than the rows before, or than its plan."""
    if not found.equals(schema):
        changed = (f"{field.name} is {field.type}" for field in found if field not in schema)
        what = next(changed, "columns are missing")
        raise CursorMismatch(f"the columns have changed since the answer began ({what}): send the query again")


def is_limited_list(query: Query) -> bool:
    """Return whether a query has a limit or a cursor, and more IDs than a server plans at once."""
    some = query.limit is not None or query.limit_objects is not None or query.resume_after is not None
    return some and query.ids is not None and len(query.ids) > IDS_A_CALL


def plan_part(url: str, query: Query, retries: Retries) -> Plan:
    """Plan an answer in one call; a server takes at most 20,000 IDs."""

    def ask(server: str) -> fl.FlightInfo:
        with calling(server) as client:
            return client.get_flight_info(fl.FlightDescriptor.for_command(query.to_json()))

    info = retries.call((url,), ask)
    endpoints = tuple(Endpoint(part.ticket.ticket, _locations(part.locations, url)) for part in info.endpoints)
    return Plan(info.schema, endpoints, None if info.total_records < 0 else info.total_records)


def _locations(given: Sequence[fl.Location], url: str) -> tuple[str, ...]:
    found = (location.uri.decode() for location in given)
    return tuple(dict.fromkeys(url if uri.startswith(REUSE) else uri for uri in found)) or (url,)


def read_endpoint(
    endpoint: Endpoint,
    *,
    resume_after: str | None = None,
    record: Record | None = None,
    retries: Retries | None = None,
    hangup: Hangup | None = None,
) -> Generator[Piece, None, None]:
    """Read an endpoint, over as many streams as needed: each row once, in the order of the ticket.

    Parameters
    ----------
    endpoint
        The endpoint.
    resume_after
        The cursor of the last piece that was read before.
    record
        The completeness record is added to it at the end.
    retries
        How failed calls are retried.
    hangup
        With which another thread can stop the read early, without an error.

    Raises
    ------
    CorruptData
        The number of rows is not that of the record, or rows are missing though the query has no limit.
    AlertflightError
        What the server raised, as the same class, if a retry makes no sense or the last one failed.
    """
    reading = _Reading(endpoint, resume_after)
    tries = (retries or Retries()).begin(endpoint.locations)
    while True:
        stream = None
        try:
            stream = _watched(Stream(tries.location, reading.ticket()), hangup)
            for piece in stream.pieces():
                reading.check(piece)
                reading.count(piece)
                tries.progress()
                yield piece
            found = reading.finish(stream)
        except Interrupted:
            if hangup is not None and hangup.done:
                return
            reading.broke()
        except AlertflightError as failure:
            if not reading.can_go_on() or not tries.again(failure):
                raise
            reading.broke()
        else:
            if record is not None:
                record.add(found)
            return
        finally:
            if stream is not None:
                stream.close()


def _watched(stream: Stream, hangup: Hangup | None) -> Stream:
    if hangup is not None:
        hangup.watch(stream)
    return stream


class Hangup:
    """Stops reads that other threads are in."""

    def __init__(self) -> None:
        self.done = False
        self._streams: WeakSet[Stream] = WeakSet()
        self._lock = threading.Lock()

    def watch(self, stream: Stream) -> None:
        """Register a stream, to be cancelled with the others."""
        with self._lock:
            self._streams.add(stream)
            if self.done:
                stream.cancel()

    def hang_up(self) -> None:
        """Cancel all registered streams."""
        with self._lock:
            self.done = True
            for stream in tuple(self._streams):
                stream.cancel()


class _Reading:
    """The progress of reading one endpoint, over all of its streams."""

    def __init__(self, endpoint: Endpoint, resume_after: str | None) -> None:
        self._ticket: dict[str, Any] = json.loads(endpoint.ticket)
        query = self._ticket.get("query", self._ticket)  # a signed ticket wraps the query
        self._limited = "limit" in query or "limit_objects" in query
        self._ids: Sequence[str | int] | None = query.get("ids")
        self._kinds: Sequence[str] = query.get("cutouts", ())
        self._nested = query.get("layout") == "nested"
        self._cursor = resume_after or self._ticket.get("resume_after")
        self._schema: pa.Schema | None = None
        self._before = Record(objects=None)  # of the streams that were interrupted
        self._now = Record()
        self._lost = False  # the last rows came without a cursor, so the read cannot resume

    def ticket(self) -> bytes:
        """Return the ticket of the remaining rows."""
        resumed = {} if self._cursor is None else {"resume_after": self._cursor}
        return json.dumps(self._ticket | resumed, separators=(",", ":"), ensure_ascii=False).encode()

    def check(self, piece: Piece) -> None:
        """Check that the columns are those of the rows before; between two streams they may have widened."""
        if self._schema is None:
            self._schema = piece.batch.schema
        check_types(self._schema, piece.batch.schema)

    def count(self, piece: Piece) -> None:
        """Count the rows of a piece, and keep its cursor."""
        self._lost = piece.cursor is None
        self._cursor = piece.cursor or self._cursor
        self._now.rows += len(piece.batch)
        if self._nested:
            self._now.points = (self._now.points or 0) + len(piece.batch.column(1).flatten())
        for kind in self._kinds:
            name = next(name for name in piece.batch.schema.names if name.startswith(f"b:cutout{kind}"))
            self._now.unexplained_cutouts += piece.batch[name].null_count

    def can_go_on(self) -> bool:
        """Return whether another stream can continue where this one ended."""
        return not self._lost

    def broke(self) -> None:
        """Account for a stream that ended before its record."""
        if self._lost:
            raise BackendLost("the stream was interrupted and cannot resume, since its rows have no cursors")
        self._before.add(self._now)
        self._before.resumed += 1
        self._now = Record()

    def finish(self, stream: Stream) -> Record:
        """Return the record of all streams, once the last one has ended."""
        found = Record.of(stream.record, stream.whole_list("missing_ids"), stream.whole_list("failed_cutouts"))
        if not found.complete and not self._limited:
            raise CorruptData(f"the answer stops after {found.rows} rows, though the query has no limit")
        if not self._before.resumed:
            return found
        # the last record covers its own rows, but all missing IDs
        cursor, digest, objects = found.cursor, None, None
        if self._ids is not None and found.complete:
            objects = len(set(self._ids)) - len(found.missing_ids)
        self._before.add(found)
        return replace(self._before, cursor=cursor, digest=digest, objects=objects, parts=1)
