"""Types of Avro as types of Arrow, and values of Avro as arrays; what has no type of Arrow is named."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa

from flight_server.ingest.plain_values import duration_text, plain_values, time_text, uuid_text
from flight_server.protocol.errors import BadValue

__all__ = ["AvroSchema", "read_schema", "to_columns"]

Convert = Callable[[Any], Any]
PRIMITIVES: dict[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
    "fixed": pa.binary(),
}
TIMES: dict[tuple[str, str], pa.DataType] = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    **{("long", f"timestamp-{name}"): pa.timestamp(unit, "UTC") for name, unit in (("millis", "ms"), ("micros", "us"))},
    **{("long", f"local-timestamp-{name}"): pa.timestamp(unit) for name, unit in (("millis", "ms"), ("micros", "us"))},
    ("long", "timestamp-nanos"): pa.timestamp("ns", "UTC"),
    ("long", "local-timestamp-nanos"): pa.timestamp("ns"),
}
RANKS = {"boolean": 0, "int": 1, "long": 2, "float": 3, "double": 4}
PYTHON_TYPES: dict[str, type] = {"boolean": bool, "int": int, "long": int, "float": float, "double": float}
SCALAR = (pa.types.is_primitive, pa.types.is_string, pa.types.is_decimal)
PLAIN = {pa.int32(): pa.int64(), pa.float32(): pa.float64()}
RECORDS = ("record", "error")
NAMED = ("enum", "fixed")
UUID_BYTES, DURATION_BYTES = 16, 12
DECIMAL128_DIGITS, DECIMAL256_DIGITS = 38, 76
REASON_LETTERS = 120


class _UnreadableError(Exception):
    """An Avro type has no type of Arrow; the message says which."""


@dataclass(frozen=True)
class AvroType:
    """An Avro type: its Arrow type, and how values are converted to what Arrow takes (None: not at all).

    `fields` are those of a record, `items` those of an array.
    """

    arrow: pa.DataType
    convert: Convert | None = None
    fields: Mapping[str, AvroType] = field(default_factory=dict)
    items: AvroType | None = None

    @property
    def is_direct(self) -> bool:
        """Whether Arrow takes the values as they are."""
        inner = [*self.fields.values(), *([self.items] if self.items else [])]
        return self.convert is None and all(one.is_direct for one in inner)

    def narrowed(self, names: Iterable[str]) -> AvroType:
        """Return a record with only some of its fields, or an array of such records."""
        if self.items is not None:
            return _array(self.items.narrowed(names))
        wanted = set(names)
        return _record({name: kind for name, kind in self.fields.items() if name in wanted}) if self.fields else self


@dataclass(frozen=True)
class AvroSchema:
    """The schema of an Avro file.

    Parameters
    ----------
    fields
        The type of each field.
    raw
        The schema to read with, as JSON: numbers for times and bytes for text, so that no value can fail then.
    unreadable
        The fields that are left out, as dotted paths, with the reasons.
    """

    fields: Mapping[str, AvroType]
    raw: bytes
    unreadable: Mapping[str, str]

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema."""
        return pa.schema([(name, kind.arrow) for name, kind in self.fields.items()])


def read_schema(text: bytes) -> AvroSchema:
    """Read the schema of an Avro file, JSON.

    Raises
    ------
    BadValue
        It is broken, or not that of records.
    """
    try:
        written: Any = fastavro.parse_schema(json.loads(text, object_hook=_cleaned))
    except Exception as error:  # a broken schema can raise anything
        raise BadValue(f"the Avro file is broken: {reason_of(error)}", field="path") from error
    if not isinstance(written, dict) or written.get("type") not in RECORDS:
        raise BadValue("the Avro file does not contain records", field="path")
    reader = _Reader()
    fields = reader.record_fields(written, "")
    return AvroSchema(fields, json.dumps(_raw(written)).encode(), reader.unreadable)


def to_columns(
    records: Sequence[Mapping[str, Any]], fields: Mapping[str, AvroType]
) -> tuple[dict[str, pa.Array], dict[str, str]]:
    """Return the columns of n records, and the fields that cannot be read, as dotted paths with the reasons."""
    columns: dict[str, pa.Array] = {}
    unreadable: dict[str, str] = {}
    for name, kind in fields.items():
        found = _to_array([record[name] for record in records], kind, name, unreadable)
        if found is not None:
            columns[name] = found
    return columns, unreadable


def reason_of(error: Exception) -> str:
    """Return an exception as one line."""
    return " ".join(f"{type(error).__name__} {error}".split())[:REASON_LETTERS]


def _to_array(values: list[Any], kind: AvroType, path: str, unreadable: dict[str, str]) -> pa.Array | None:
    """Return values as an array, without the fields that cannot be read; None if it cannot be read itself."""
    leaf = not kind.fields and kind.items is None
    if leaf or kind.is_direct:
        try:
            convert = kind.convert
            given = values if convert is None else [None if value is None else convert(value) for value in values]
            return pa.array(given, kind.arrow)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            if leaf:
                unreadable[path] = reason_of(error)
                return None
    nulls = np.array([value is None for value in values], dtype=bool)
    if kind.items is not None:
        flat = [item for value in values if value is not None for item in value]
        items = _to_array(flat, kind.items, path, unreadable)
        offsets = np.concatenate([[0], np.cumsum([0 if value is None else len(value) for value in values], dtype=np.int64)])
        ends = pa.array(offsets, pa.int32(), mask=np.append(nulls, False) if nulls.any() else None)
        return None if items is None else pa.ListArray.from_arrays(ends, items)
    parts = {}
    for name, inner in kind.fields.items():
        part = _to_array([None if value is None else value[name] for value in values], inner, f"{path}.{name}", unreadable)
        if part is not None:
            parts[name] = part
    return pa.StructArray.from_arrays(list(parts.values()), names=list(parts), mask=pa.array(nulls)) if parts else None


def _record(fields: Mapping[str, AvroType]) -> AvroType:
    return AvroType(pa.struct([(name, kind.arrow) for name, kind in fields.items()]), fields=fields)


def _array(items: AvroType) -> AvroType:
    return AvroType(pa.list_(items.arrow), items=items)


class _Reader:
    """Reads the types of one schema, and gathers the fields that cannot be read."""

    def __init__(self) -> None:
        self.unreadable: dict[str, str] = {}
        self._named: dict[str, AvroType | None] = {}  # None: a type within itself

    def record_fields(self, schema: Mapping[str, Any], path: str) -> dict[str, AvroType]:
        """Return the types of the fields of a record that can be read."""
        self._named[schema["name"]] = None
        found = {}
        for one in schema["fields"]:
            name = f"{path}{one['name']}"
            try:
                found[one["name"]] = self._type(one["type"], name)
            except _UnreadableError as error:
                for part in [part for part in self.unreadable if part.startswith(f"{name}.")]:
                    del self.unreadable[part]
                self.unreadable[name] = str(error)
        return found

    def _type(self, schema: Any, path: str) -> AvroType:
        """Return the type of a schema; every value may be null."""
        if isinstance(schema, list):
            return self._union([branch for branch in schema if branch != "null"], path)
        if isinstance(schema, str):
            return AvroType(PRIMITIVES[schema]) if schema in PRIMITIVES else self._of_name(schema)
        made = self._complex(schema, path)
        if "name" in schema:
            self._named[schema["name"]] = made
        return made

    def _of_name(self, name: str) -> AvroType:
        found = self._named.get(name)
        if found is None:
            raise _UnreadableError(f"{name} contains itself")
        return found

    def _complex(self, schema: Mapping[str, Any], path: str) -> AvroType:
        kind = schema["type"]
        if kind in RECORDS:
            return _record(self.record_fields(schema, f"{path}."))
        if kind == "array":
            return _array(self._type(schema["items"], path))
        if kind == "map":
            values = self._type(schema["values"], path)
            if not values.is_direct:
                raise _UnreadableError("a map whose values have to be converted")
            return AvroType(pa.map_(pa.string(), values.arrow), lambda value: list(value.items()))
        logical = _logical(schema)
        if logical is not None:
            return logical
        return AvroType(PRIMITIVES[kind]) if kind in NAMED else self._type(kind, path)

    def _union(self, branches: Sequence[Any], path: str) -> AvroType:
        """Return the type that holds the values of all branches: a number, or text."""
        if not branches:
            return AvroType(pa.null())
        if len(branches) == 1:
            return self._type(branches[0], path)
        if all(branch in RANKS for branch in branches if isinstance(branch, str)) and all(
            isinstance(branch, str) for branch in branches
        ):
            return _number_union(set(branches))
        found = [(_kind(branch), self._type(branch, path)) for branch in branches]
        if {kind.arrow for _, kind in found} == {pa.binary()}:
            return AvroType(pa.binary())
        texts = _texts(found)
        if texts is None:
            raise _UnreadableError(f"a union of {' and '.join(map(_shown, branches))}")
        return AvroType(pa.string(), lambda value: texts[type(value)](value))


def _kind(branch: Any) -> str:
    """Return the name of the type of a branch of a union, whatever is said about it besides."""
    while not isinstance(branch, str):
        branch = branch["type"]
    return branch


def _texts(found: Sequence[tuple[str, AvroType]]) -> dict[type, Convert] | None:
    """Return the functions that make text of the values of a union, by their type in Python; None if text cannot tell them."""
    texts: dict[type, Convert] = {}
    held: dict[type, set[pa.DataType]] = {}
    single = "double" not in {kind for kind, _ in found}
    for kind, one in found:
        if one.fields or one.items or not any(test(one.arrow) for test in SCALAR):
            return None
        is_text = pa.types.is_string(one.arrow) and one.convert is None
        written = PYTHON_TYPES.get(kind, bytes)
        # of integers int and long, of text string and enum are alike; what else shares a type cannot be told apart
        held.setdefault(written, set()).add(PLAIN.get(one.arrow, one.arrow) if one.convert is None else one.arrow)
        texts |= {bytes: bytes.decode, str: str} if is_text else {written: _text_of(one, single=single)}
    return texts if all(len(kinds) == 1 for kinds in held.values()) else None


def _number_union(kinds: set[str]) -> AvroType:
    """Return the type that holds the numbers of several types: a double unless all are integers.

    An integer that no double has then makes the field unreadable, rather than lose digits.
    """
    if kinds <= {"boolean", "int", "long"}:
        return AvroType(PRIMITIVES[max(kinds, key=RANKS.__getitem__)], int)
    return AvroType(pa.float64(), lambda value: int(value) if isinstance(value, bool) else value)


def _text_of(kind: AvroType, *, single: bool) -> Convert:
    """Return the function that makes text of the values of a type; of floats the shortest, as single precision if `single`."""

    def text(value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float):
            return str(np.float32(value)) if single else repr(value)
        converted = value if kind.convert is None else kind.convert(value)
        one = pa.array([converted], kind.arrow)
        plain = time_text(one) if pa.types.is_temporal(one.type) else plain_values(one).cast(pa.string())
        return str(plain[0].as_py())

    return text


def _shown(branch: Any) -> str:
    return branch if isinstance(branch, str) else str(branch.get("logicalType") or branch.get("name") or branch["type"])


def _logical(schema: Mapping[str, Any]) -> AvroType | None:
    """Return the type of a logical type, or None if it is none: Avro says to ignore those that are unknown or wrong."""
    kind, logical, size = str(schema["type"]), str(schema.get("logicalType")), schema.get("size")
    if (kind, logical) in TIMES:
        return AvroType(TIMES[kind, logical])
    if logical == "decimal" and kind in {"bytes", "fixed"}:
        return _decimal(schema["precision"], schema.get("scale", 0))
    if logical == "uuid" and kind == "fixed" and size == UUID_BYTES:
        return AvroType(pa.string(), uuid_text)
    if logical == "duration" and kind == "fixed" and size == DURATION_BYTES:
        return AvroType(pa.string(), _duration)
    return None


def _decimal(precision: int, scale: int) -> AvroType:
    if precision > DECIMAL256_DIGITS:
        raise _UnreadableError(f"a decimal of {precision} digits")
    made = pa.decimal128 if precision <= DECIMAL128_DIGITS else pa.decimal256

    def number(value: bytes) -> Decimal:
        unscaled = int.from_bytes(value, "big", signed=True)
        return Decimal((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -scale))

    return AvroType(made(precision, scale), number)


def _cleaned(schema: dict[str, Any]) -> Any:
    """Return a part of a schema without what fastavro refuses: wrong decimals, which Avro ignores, and a type in a type."""
    if "name" not in schema and isinstance(schema.get("type"), dict | list):
        return schema["type"]
    if schema.get("logicalType") != "decimal":
        return schema
    size = schema.get("size")
    most = math.floor(math.log10(2) * (8 * size - 1)) if isinstance(size, int) and size > 0 else math.inf
    if _is_decimal(schema.get("precision"), schema.get("scale", 0)) and schema["precision"] <= most:
        return schema
    return {name: value for name, value in schema.items() if name != "logicalType"}


def _is_decimal(precision: Any, scale: Any) -> bool:
    return isinstance(precision, int) and isinstance(scale, int) and 0 <= scale <= precision and precision > 0


def _duration(value: bytes) -> str:
    months, days, milliseconds = (int.from_bytes(value[place : place + 4], "little") for place in (0, 4, 8))
    return duration_text(months, days, milliseconds * 1_000_000)


def _raw(schema: Any) -> Any:
    """Return a schema without logical types, and with bytes in place of text unless a union has both."""
    if isinstance(schema, list):
        both = {"string", "bytes"} <= {branch if isinstance(branch, str) else branch["type"] for branch in schema}
        return [branch if both and branch == "string" else _raw(branch) for branch in schema]
    if isinstance(schema, str):
        return "bytes" if schema == "string" else schema
    kind = schema["type"]
    if kind in RECORDS:
        fields = [{"name": one["name"], "type": _raw(one["type"])} for one in schema["fields"]]
        return {"type": kind, "name": schema["name"], "fields": fields}
    if kind in NAMED:
        return {name: schema[name] for name in ("type", "name", "symbols", "size") if name in schema}
    inner = {"array": "items", "map": "values"}.get(kind) if isinstance(kind, str) else None
    return {"type": kind, inner: _raw(schema[inner])} if inner else _raw(kind)
