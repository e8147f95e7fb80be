"""Columns with type, unit and meaning, and their Arrow schemas."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

__all__ = ["TYPES", "Column", "Projection", "empty_batch"]

# The type names (Spark's) in the broker's schema rows; config/columns uses them too.
TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its name with the family, its Arrow type and its meaning.

    `bounds` are the smallest and the largest possible value; rows with others are refused where they come in.
    `missing` are the texts that stand for a missing value.
    """

    name: str
    type: pa.DataType
    unit: str = ""
    ucd: str = ""
    description: str = ""
    origin: str = "broker"
    time_scale: str | None = None
    time_reference: str | None = None
    bounds: tuple[float, float] | None = None
    missing: tuple[str, ...] = ()

    def field(self) -> pa.Field:
        """Return the Arrow field, with unit, UCD, description and origin as metadata."""
        metadata = {"unit": self.unit, "ucd": self.ucd, "description": self.description, "origin": self.origin}
        if self.time_scale:
            metadata |= {"time_scale": self.time_scale, "time_reference": self.time_reference or ""}
        return pa.field(self.name, self.type, metadata=metadata)


class Projection(tuple[Column, ...]):  # noqa: SLOT001  (cached properties need a dict)
    """Columns in the requested order; schema, key and index are computed once.

    >>> Projection([Column(name="i:jd", type=TYPES["double"])]).schema.names
    ['i:jd']
    """

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema."""
        return pa.schema([column.field() for column in self])

    @cached_property
    def key(self) -> str:
        """A cache key: equal for equal columns in the same order."""
        return hashlib.sha256("\n".join(map(repr, self)).encode()).hexdigest()

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """The columns by name."""
        return {column.name: column for column in self}

    @cached_property
    def _others(self) -> dict[frozenset[str], Projection]:
        return {}

    def without(self, names: frozenset[str]) -> Projection:
        """Return the columns that have none of these names; computed once for each set of names."""
        if names not in self._others:
            self._others[names] = Projection(column for column in self if column.name not in names)
        return self._others[names]

    def with_further(self, columns: Iterable[Column]) -> Projection:
        """Return these columns, followed by the further ones that are not among them."""
        further = {column.name: column for column in columns if column.name not in self.by_name}
        return Projection((*self, *further.values())) if further else self


def empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch of zero rows."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
