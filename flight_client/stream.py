"""Reads one answer and sees to it that it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from flight_client.calls import connect, to_domain
from flight_server.errors import CorruptData
from flight_server.tickets import Query

__all__ = ["Stream"]


class Stream:
    """The answer to one query: iterate over its record batches; then `record` says what they were.

    Parameters
    ----------
    url
        The server, such as `grpc://127.0.0.1:8815`.
    query
        What to ask.

    Raises
    ------
    AlertflightError
        What the server raised, as the same class. An answer that ends early or has other rows than its
        record says raises `CorruptData`; a server that cannot be reached, `BackendLost`.
    """

    def __init__(self, url: str, query: Query) -> None:
        self._url = url
        self._missing: list[str | int] = []
        self.record: dict[str, Any] = {}
        self._client = connect(url)
        try:
            self._reader = self._client.do_get(fl.Ticket(query.to_json()))
            self.schema: pa.Schema = self._reader.schema
        except (fl.FlightError, pa.ArrowException) as error:
            raise to_domain(error, self._url) from error

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Give the batches as they come, zero-row ones left out."""
        rows = 0
        while True:
            try:
                chunk = self._reader.read_chunk()
            except StopIteration:
                break
            except (fl.FlightError, pa.ArrowException) as error:
                raise to_domain(error, self._url) from error
            self._note(chunk.app_metadata)
            rows += len(chunk.data)
            if len(chunk.data):
                yield chunk.data
        if not self.record:
            raise CorruptData(f"the answer from {self._url} ended early, after {rows} rows")
        if self.record["rows"] != rows:
            raise CorruptData(f"{rows} rows came from {self._url}, which sent {self.record['rows']}")

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    @property
    def missing_ids(self) -> list[str | int]:
        """The asked IDs without a row in the answer."""
        return self._missing + list(self.record.get("missing_ids", ()))

    def _note(self, metadata: pa.Buffer | None) -> None:
        if not metadata:  # the server is still at work
            return
        found = json.loads(metadata.to_pybytes())
        if "complete" in found:
            self.record = found
        elif "missing_ids" in found:
            self._missing += found["missing_ids"]
