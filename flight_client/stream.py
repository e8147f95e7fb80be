"""Reads one answer and sees to it that it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from flight_client.calls import to_domain
from flight_client.connections import OpenExchange, OpenStream
from flight_server.protocol.errors import CorruptData, from_info
from flight_server.protocol.query import Query

__all__ = ["LISTS", "BrokenOff", "Piece", "Stream"]

LISTS = ("missing_ids", "failed_cutouts")  # of the record; in front of it where they are long


class BrokenOff(CorruptData):
    """An answer ended before its record came."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of an answer, and the cursor behind them, if the answer can go on from there."""

    batch: pa.RecordBatch
    cursor: str | None


class Stream:
    """The answer to one query: iterate over its record batches; then `record` says what they were.

    Parameters
    ----------
    url
        The server, such as `grpc://127.0.0.1:8815`.
    query
        What to ask, or a ticket as a server gave it.
    sent
        IDs or places, for a query without a selection.

    Raises
    ------
    AlertflightError
        What the server raised, as the same class. An answer that ends early or has other rows than its
        record says raises `CorruptData`; a server that cannot be reached, `BackendLost`.
    """

    def __init__(self, url: str, query: Query | bytes, sent: pa.RecordBatch | None = None) -> None:
        self._url = url
        self._early: dict[str, list[Any]] = {name: [] for name in LISTS}
        self.record: dict[str, Any] = {}
        ticket = query.to_json() if isinstance(query, Query) else query
        try:
            self._open = OpenStream(url, ticket) if sent is None else OpenExchange(url, ticket, sent)
        except (fl.FlightError, pa.ArrowException) as error:
            raise to_domain(error, self._url) from error
        self.schema = self._open.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Give the batches as they come, zero-row ones left out."""
        for piece in self.pieces():
            yield piece.batch

    def pieces(self) -> Iterator[Piece]:
        """Give the batches with their cursors."""
        rows = 0
        while (chunk := self._read()) is not None:
            said = self._note(chunk.app_metadata)
            rows += len(chunk.data)
            if len(chunk.data):
                yield Piece(chunk.data, said.get("cursor"))
        if not self.record:
            raise BrokenOff(f"the answer from {self._url} ended early, after {rows} rows")
        if self.record["rows"] != rows:
            raise CorruptData(f"{rows} rows came from {self._url}, which sent {self.record['rows']}")

    def cancel(self) -> None:
        """End it from another thread; its reader meets Interrupted."""
        self._open.cancel()

    def close(self) -> None:
        """Hang up."""
        self._open.close()

    @property
    def missing_ids(self) -> list[str | int]:
        """The asked IDs without a row in the answer."""
        return self.whole_list("missing_ids")

    def whole_list(self, name: str) -> list[Any]:
        """Give a list of the record with what came in front of it."""
        return self._early[name] + list(self.record.get(name, ()))

    def _read(self) -> fl.FlightStreamChunk | None:
        try:
            return self._open.read()
        except (fl.FlightError, pa.ArrowException) as error:
            raise to_domain(error, self._url) from error

    def _note(self, metadata: pa.Buffer | None) -> dict[str, Any]:
        if not metadata:  # the server is still at work
            return {}
        found: dict[str, Any] = json.loads(metadata.to_pybytes())
        if "error" in found:  # of an exchange, in which nothing else can be told
            raise from_info(json.dumps(found["error"])) or CorruptData(f"an error that nobody knows came from {self._url}")
        if "complete" in found:
            self.record = found
        else:
            for name in LISTS:
                self._early[name] += found.get(name, ())
        return found
