"""Conversion of Arrow types to Avro, with every value nullable, as the broker writes them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

__all__ = ["avro_schema"]

_NAMES = {
    pa.int32(): "int",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.binary(): "bytes",
    pa.bool_(): "boolean",
}


def avro_schema(schema: pa.Schema, name: str = "topLevelRecord") -> dict[str, Any]:
    """Return the Avro schema of a record with these fields.

    >>> avro_schema(pa.schema([("candid", pa.int64())]))["fields"]
    [{'name': 'candid', 'type': ['null', 'long']}]
    """
    fields = [{"name": field.name, "type": ["null", _type(field.type, f"{name}.{field.name}")]} for field in schema]
    return {"type": "record", "name": name, "fields": fields}


def _type(kind: pa.DataType, name: str) -> Any:
    if pa.types.is_struct(kind):
        return avro_schema(pa.schema(list(kind)), name)
    if pa.types.is_list(kind):
        return {"type": "array", "items": ["null", _type(kind.value_type, name)]}
    if pa.types.is_map(kind):
        return {"type": "map", "values": ["null", _type(kind.item_type, name)]}
    if pa.types.is_timestamp(kind):
        return {"type": "long", "logicalType": "timestamp-micros"}
    return _NAMES[kind]
