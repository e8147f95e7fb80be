"""Archives and answers for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.catalog.catalog import load_catalog
from flight_server.execution.archive import Archive
from flight_server.execution.digests import Digest
from flight_server.ingest import IngestReport, ingest
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query
from flight_server.service.stores import Store
from flight_server.settings import Settings, load_settings
from flight_server.storage.embedded import EmbeddedStore


@dataclass
class Opened:
    """A store, its archive, and the ingest that filled it."""

    store: Store
    archive: Archive
    settings: Settings
    reports: list[IngestReport] = field(default_factory=list)

    def ingest(self, *paths: Path, history: bool = False) -> IngestReport:
        self.reports.append(ingest(self.store, load_catalog(), paths, history=history))
        return self.reports[-1]


def opened(store: Store, settings: Settings) -> Opened:
    return Opened(store, Archive(load_catalog(), store, store.cutouts, settings), settings)


def open_embedded(folder: Path) -> Opened:
    settings = load_settings(environment={}, data=str(folder), port=0)
    return opened(EmbeddedStore(settings.folder, load_catalog()), settings)


@dataclass
class Answered:
    """The answer of a do_get: rows, metadata of each message, and the record at the end."""

    table: pa.Table
    messages: list[tuple[int, dict[str, Any]]]
    record: dict[str, Any]

    @property
    def missing(self) -> list[str | int]:
        """All missing IDs, including those in messages before the record."""
        return [value for _, metadata in self.messages for value in metadata.get("missing_ids", ())]


def ask(client: fl.FlightClient, **fields: Any) -> Answered:
    """Send a ticket and read the whole answer."""
    reader = client.do_get(fl.Ticket(json.dumps(fields).encode()))
    return read(reader)


def read(reader: Iterable[Any]) -> Answered:
    messages = []
    batches = []
    for chunk in reader:
        metadata = json.loads(chunk.app_metadata.to_pybytes()) if chunk.app_metadata else {}
        messages.append((len(chunk.data), metadata))
        batches.append(chunk.data)
    return Answered(pa.Table.from_batches(batches), messages, messages[-1][1])


def digest(table: pa.Table) -> str:
    """Return the digest of a table; unlike with `equals`, NaN equals NaN."""
    found = Digest(table.schema)
    for batch in table.to_batches():
        found.update(batch)
    return found.hexdigest()


def messages(opened: Opened, query: Query) -> Answered:
    """Read an answer without a server."""
    answer = opened.archive.answer(query, Caller())
    found = list(answer.messages)
    table = pa.Table.from_batches([message.batch for message in found], schema=answer.schema)
    return Answered(table, [(len(message.batch), message.metadata) for message in found], found[-1].metadata)
