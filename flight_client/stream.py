"""Reads the stream of one answer and checks that it is complete."""

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

LISTS = ("missing_ids", "failed_cutouts")  # of the record; long ones are sent before it


class BrokenOff(CorruptData):
    """An answer ended before its completeness record."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of an answer, and the cursor after them if the answer can resume there."""

    batch: pa.RecordBatch
    cursor: str | None


class Stream:
    """The stream of one answer: iterate over its record batches; then `record` is its completeness record.

    Parameters
    ----------
    url
        The server, such as `grpc://127.0.0.1:8815`.
    query
        The query, or a ticket from a server.
    sent
        IDs or positions, for a query without a selection.

    Raises
    ------
    AlertflightError
        What the server raised, as the same class. An answer that ends early or does not have the rows of its
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
        """Yield the batches, without empty ones."""
        for piece in self.pieces():
            yield piece.batch

    def pieces(self) -> Iterator[Piece]:
        """Yield the batches with their cursors."""
        rows = 0
        while (chunk := self._read()) is not None:
            said = self._note(chunk.app_metadata)
            rows += len(chunk.data)
            if len(chunk.data):
                yield Piece(chunk.data, said.get("cursor"))
        if not self.record:
            raise BrokenOff(f"the answer from {self._url} ended early, after {rows} rows")
        if self.record["rows"] != rows:
            raise CorruptData(f"received {rows} rows from {self._url}, which sent {self.record['rows']}")

    def cancel(self) -> None:
        """Cancel the stream from another thread; its reader gets Interrupted."""
        self._open.cancel()

    def close(self) -> None:
        """Cancel the stream and release it."""
        self._open.close()

    @property
    def missing_ids(self) -> list[str | int]:
        """The requested IDs without rows."""
        return self.whole_list("missing_ids")

    def whole_list(self, name: str) -> list[Any]:
        """Return a list of the record, with its part that was sent before the record."""
        return self._early[name] + list(self.record.get(name, ()))

    def _read(self) -> fl.FlightStreamChunk | None:
        try:
            return self._open.read()
        except (fl.FlightError, pa.ArrowException) as error:
            raise to_domain(error, self._url) from error

    def _note(self, metadata: pa.Buffer | None) -> dict[str, Any]:
        if not metadata:  # keep-alive: the server is still working
            return {}
        found: dict[str, Any] = json.loads(metadata.to_pybytes())
        if "error" in found:  # of an exchange, which has no other way to report it
            raise from_info(json.dumps(found["error"])) or CorruptData(f"{self._url} sent an unknown error")
        if "complete" in found:
            self.record = found
        else:
            for name in LISTS:
                self._early[name] += found.get(name, ())
        return found
