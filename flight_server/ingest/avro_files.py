"""Alert files in Avro: packets of one or more alerts, as sent by surveys and brokers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa

from flight_server.catalog.declarations import AlertLayout
from flight_server.protocol.errors import BadValue

__all__ = ["AvroAlerts"]

_PRIMITIVES: dict[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
}
_TIMES = {
    "timestamp-millis": pa.timestamp("ms", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
}


class AvroAlerts:
    """An `AlertFile` in Avro."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as handle:
                written = fastavro.reader(handle).writer_schema
        except Exception as error:  # a broken header can raise anything
            raise BadValue(f"the Avro file is broken: {_reason(error)}", field="path", value=path) from error
        if not isinstance(written, dict) or written.get("type") != "record":
            raise BadValue("the Avro file does not contain records", field="path", value=path)
        self.schema: pa.Schema = pa.schema(_record(written, {}))

    def read(self, layout: AlertLayout, history: frozenset[str] | None) -> pa.Table:
        """Read the alerts; see `AlertFile.read`."""
        tops = [field for field in self.schema if history is None or field.name not in layout.not_stored]
        fields = [_narrowed(field, layout, history) for field in tops]
        try:
            with self._path.open("rb") as handle:
                records = list(fastavro.reader(handle))
        except Exception as error:
            raise BadValue(f"the Avro file is broken: {_reason(error)}", field="path") from error
        try:
            return pa.Table.from_struct_array(pa.array(records, pa.struct(fields)))
        except (pa.ArrowException, TypeError) as error:
            raise BadValue(f"values of the Avro file do not match its schema: {_reason(error)}", field="path") from error


def _narrowed(field: pa.Field, layout: AlertLayout, history: frozenset[str] | None) -> pa.Field:
    """Return a field without the parts that are not stored, which are then not converted to Arrow."""
    kind = field.type
    if history is not None and field.name == layout.history and pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        return field.with_type(pa.list_(pa.struct([sub for sub in kind.value_type if sub.name in history])))
    if field.name in layout.nested and pa.types.is_map(kind):
        return field.with_type(pa.struct([(cell, kind.item_type) for cell in layout.nested[field.name].cells]))
    return field


def _record(schema: Mapping[str, Any], named: dict[str, pa.DataType]) -> list[pa.Field]:
    return [pa.field(field["name"], _type(field["type"], named)) for field in schema["fields"]]


def _type(schema: Any, named: dict[str, pa.DataType]) -> pa.DataType:
    """Return the Arrow type of an Avro type; every value may be null."""
    if isinstance(schema, list):
        kinds = [kind for kind in schema if kind != "null"]
        if len(kinds) > 1:
            raise BadValue(f"the Avro file has a union of {len(kinds)} types", field="path")
        return _type(kinds[0], named) if kinds else pa.null()
    if isinstance(schema, str):
        return named[schema] if schema in named else _PRIMITIVES[schema]
    kind = schema["type"]
    if schema.get("logicalType") in _TIMES:
        return _TIMES[schema["logicalType"]]
    if kind == "record":
        made: pa.DataType = pa.struct(_record(schema, named))
    elif kind == "array":
        return pa.list_(_type(schema["items"], named))
    elif kind == "map":
        return pa.map_(pa.string(), _type(schema["values"], named))
    elif kind == "fixed":
        made = pa.binary()
    else:
        made = _PRIMITIVES[kind] if isinstance(kind, str) and kind in _PRIMITIVES else _type(kind, named)
    if "name" in schema:
        named[schema["name"]] = made
    return made


def _reason(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()[:120]
