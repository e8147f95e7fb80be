"""Avro files made of the alerts of a real one."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
from alert_data import MANY_AVRO

Record = Mapping[str, Any]


@cache
def read_packets() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the schema and the alerts of the sample."""
    with MANY_AVRO.open("rb") as handle:
        reader = fastavro.reader(handle)
        schema = reader.writer_schema
        return schema, list(reader)


def packed(schema: Mapping[str, Any], alerts: Iterable[Record], codec: str = "null") -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(dict(schema)), list(alerts), codec=codec)
    return out.getvalue()


def with_added(kinds: Mapping[str, Any], values: Mapping[str, Any]) -> bytes:
    """Return the alerts of the sample with more fields, each with its value in all alerts."""
    schema, alerts = read_packets()
    fields = [*schema["fields"], *({"name": name, "type": kind} for name, kind in kinds.items())]
    return packed({**schema, "fields": fields}, [{**alert, **values} for alert in alerts])


def with_added_raw(kind: Any, written: Any, value: Any) -> bytes:
    """Return the alerts with one more field that is written as one type and is said to be of another."""
    schema, alerts = read_packets()
    said, true = ({**schema, "fields": [*schema["fields"], {"name": "added", "type": one}]} for one in (kind, written))
    data = b"".join(_encoded(true, {**alert, "added": value}) for alert in alerts)
    header = {"avro.schema": json.dumps(_plain(said)).encode(), "avro.codec": b"null"}
    head = b"Obj\x01" + _encoded({"type": "map", "values": "bytes"}, header) + bytes(16)
    return head + _encoded("long", len(alerts)) + _encoded("long", len(data)) + data + bytes(16)


def _encoded(schema: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if not name.startswith("__")}


def without(*names: str) -> bytes:
    """Return the alerts of the sample without some of their fields."""
    schema, alerts = read_packets()
    return packed({**schema, "fields": [field for field in schema["fields"] if field["name"] not in names]}, alerts)


def single_packets(codec: str = "null") -> list[bytes]:
    """Return each alert of the sample as a packet of its own."""
    schema, alerts = read_packets()
    return [packed(schema, [alert], codec) for alert in alerts]


def saved(content: bytes, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file
