"""Alert files in Avro: packets of one or more alerts, as sent by surveys and brokers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import IO, Any, cast

import fastavro
import pyarrow as pa

from flight_server.catalog.declarations import AlertLayout
from flight_server.ingest.archives import Slice
from flight_server.ingest.avro_containers import Container, joined
from flight_server.ingest.avro_types import AvroSchema, AvroType, read_schema, reason_of, to_columns
from flight_server.protocol.errors import BadValue

__all__ = ["AvroAlerts", "AvroSchemas", "read_packets"]


class AvroSchemas:
    """The schemas of the Avro files of one ingest: most have the same one."""

    def __init__(self) -> None:
        self._read: dict[bytes, tuple[AvroSchema, pa.Schema]] = {}

    def read(self, text: bytes) -> tuple[AvroSchema, pa.Schema]:
        """Read a schema; see `read_schema`."""
        if text not in self._read:
            found = read_schema(text)
            self._read[text] = (found, found.arrow)
        return self._read[text]


class AvroAlerts:
    """An `AlertFile` in Avro."""

    def __init__(self, content: Slice, schemas: AvroSchemas) -> None:
        self.content = content
        given = content.view()
        text, self.container = Container.read(given)
        self.alerts = sum(count for count, _ in self.container.blocks(given))
        self.avro, self.schema = schemas.read(text)
        self.unreadable = dict(self.avro.unreadable)

    def read(self, layout: AlertLayout, history: frozenset[str] | None) -> pa.Table:
        """Read the alerts; see `AlertFile.read`."""
        return read_packets([self], layout, history)


def read_packets(files: Sequence[AvroAlerts], layout: AlertLayout, history: frozenset[str] | None) -> pa.Table:
    """Read the alerts of several files of one schema; see `AlertFile.read`."""
    fields = _narrowed(files[0].avro.fields, layout, history)
    records: list[Any] = []
    try:
        for _, same in groupby(files, lambda file: file.container.codec):
            parts = [(file.container, file.content.view()) for file in same]
            records += list(fastavro.reader(cast("IO[bytes]", joined(files[0].avro.raw, parts))))
    except BadValue:
        raise
    except Exception as error:  # what is broken can raise anything
        raise BadValue(f"the Avro file is broken: {reason_of(error)}", field="path") from error
    columns, unreadable = to_columns(records, fields)
    if unreadable and len(files) > 1:  # must not cost the field in the other packets
        raise BadValue("some fields cannot be read: read these packets one by one", field="path")
    for file in files:
        file.unreadable |= unreadable
    return pa.table(columns)


def _narrowed(fields: Mapping[str, AvroType], layout: AlertLayout, history: frozenset[str] | None) -> dict[str, AvroType]:
    """Return the fields that are stored, which are then converted to Arrow: of the history those named, or all."""
    if history is None:
        return dict(fields)
    stored = {name: kind for name, kind in fields.items() if name not in layout.not_stored}
    return {name: kind.narrowed(history) if name in layout.histories else kind for name, kind in stored.items()}
