"""Columns of every type with values at its edges, and what must become of two of them in one store."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
from alert_data import NIGHT
from changed_alerts import STAMPS, alerts_of, saved, with_fields

NAN, INFINITY = math.nan, math.inf
Value = bool | int | float | str | None

# the values of each type, all of which every wider type holds
VALUES: dict[str, list[Value]] = {
    "bool": [True, False, None],
    "int32": [2**24 + 1, -(2**31), 0, None, 1],
    "int64": [2**51 - 1, 1 - 2**51, 0, None, -7],
    "float": [0.5, -0.0, NAN, INFINITY, None, 2.0**-149],
    "double": [0.1, -0.0, -INFINITY, NAN, None, 1.7976931348623157e308],
    "string": ["x", "007", "", None, "true"],
}
TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
}
# the shortest decimals that are read as the same number of the type
TEXTS = {-0.0: "-0", 2.0**-149: "1e-45", 1.7976931348623157e308: "1.7976931348623157e+308"}
# the type of both, from the first one's point of view
JOINED = {
    ("bool", "int32"): "int32",
    ("bool", "int64"): "int64",
    ("bool", "float"): "double",
    ("bool", "double"): "double",
    ("int32", "int64"): "int64",
    ("int32", "float"): "double",
    ("int32", "double"): "double",
    ("int64", "float"): "double",
    ("int64", "double"): "double",
    ("float", "double"): "double",
}
PAIRS = [(first, second) for first in TYPES for second in TYPES]


def joined(first: str, second: str) -> str:
    """Return the type of both; text if one is."""
    if first == second:
        return first
    return JOINED.get((first, second)) or JOINED.get((second, first)) or "string"


def night(first: int, step: int) -> pa.Table:
    """Return every `step`-th alert of a night, without cutouts."""
    alerts = alerts_of(NIGHT)
    chosen = alerts.take(pa.array(range(first, len(alerts), step)))
    return with_fields(chosen, **dict.fromkeys(STAMPS))


def column(kind: str, rows: int, values: list[Value] | None = None) -> pa.Array:
    """Return values of a type, repeated over the rows."""
    values = VALUES[kind] if values is None else values
    return pa.array([values[row % len(values)] for row in range(rows)], TYPES[kind])


def write(file: Path, alerts: pa.Table, kind: str, values: list[Value] | None = None) -> Path:
    """Write alerts with a column `score` that the catalog does not know."""
    return saved(with_fields(alerts, score=column(kind, len(alerts), values)), file)


def as_type(value: Value, kind: str) -> Value:
    """Return a value as one of a wider type, in another way than the product does."""
    if value is None or kind in {"bool", "float"}:
        return value
    if kind in {"int32", "int64"}:
        return int(value)
    if kind == "double":
        return float(value)
    if isinstance(value, float) and math.isnan(value):
        return None  # a missing text
    if isinstance(value, bool):
        return "true" if value else "false"
    is_zero = value == 0 and math.copysign(1.0, value) > 0  # -0.0 equals it
    return str(value) if is_zero or not isinstance(value, float) else TEXTS.get(value, str(value))


def spelled(value: Value, kind: str) -> Any:
    """Return a value in a form in which NaN is itself, and -0.0 is not 0.0; numbers as exact fractions."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value), kind
    if isinstance(value, bool | int | float):
        return Fraction(value), math.copysign(1.0, value), kind
    return value
