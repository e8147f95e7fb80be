"""From nested alerts to flat cells: one Arrow column for each family-qualified name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from flight_server.declarations import AlertLayout, Nested
from flight_server.errors import BadValue
from flight_server.ingest.casting import cast_exactly, stored_type
from flight_server.ingest.java_text import list_text

__all__ = ["Cells", "cell_types", "flatten", "version_text"]


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of n alerts: `columns` by name, stamps by kind, the versions' sort text, and the histories."""

    columns: Mapping[str, pa.Array]
    stamps: Mapping[str, pa.Array]
    version: pa.StringArray
    history: pa.ListArray | None


def cell_types(schema: pa.Schema, layout: AlertLayout) -> tuple[dict[str, pa.DataType], list[str]]:
    """Say which cells the alerts of a file will have, with the file's types, and what of it is not stored."""
    types: dict[str, pa.DataType] = {}
    left_out = []
    for name, family, field in _sources(schema, layout):
        if family is None:
            left_out.append(name)
        elif field.name in layout.nested:
            nested = layout.nested[field.name]
            types |= {f"{family}:{field.name}_{cell}": _part_type(field.type, cell) for cell in nested.cells}
            types |= {f"{family}:{field.name}": pa.string()} if nested.text else {}
            left_out += [f"{field.name}.{part}" for part in _parts(field.type) if part not in nested.cells + nested.text]
        elif stored_type(field.type) or pa.types.is_null(field.type):
            types[f"{family}:{name}"] = field.type
        else:
            left_out.append(name)
    return types, left_out


def flatten(alerts: pa.Table, layout: AlertLayout, types: Mapping[str, pa.DataType]) -> Cells:
    """Flatten alerts and cast their cells.

    Parameters
    ----------
    alerts
        n alerts as nested as their file has them.
    layout
        The survey's layout.
    types
        The type that each cell must have; cells of other names are left out.

    Raises
    ------
    BadValue
        A value does not fit its type; names column and row.
    """
    alerts = alerts.combine_chunks()
    columns: dict[str, pa.Array] = {}
    for name, family, field in _sources(alerts.schema, layout):
        if family is None:
            continue
        values = _values(alerts, name, layout, family)
        if field.name in layout.nested:
            found = dict(_nested(values, f"{family}:{name}", layout.nested[field.name]))
        else:
            found = {f"{family}:{name}": values}
        columns |= {cell: cast_exactly(part, types[cell], cell) for cell, part in found.items() if cell in types}
    stamps = {kind: _stamp(alerts, path) for kind, path in layout.stamps.items() if path.partition(".")[0] in alerts.column_names}
    history = _array(alerts[layout.history]) if layout.history in alerts.column_names else None
    return Cells(columns, stamps, version_text(columns, layout.version, len(alerts)), history)


def version_text(columns: Mapping[str, pa.Array], names: tuple[str, ...], rows: int) -> pa.StringArray:
    """Give text that sorts as versions do: number by number, a missing one first.

    >>> version_text({"v": pa.array(["3.10", "3.9", None])}, ("v",), 3).to_pylist()
    ['013.0210', '013.019', '']
    """
    parts = []
    for name in names:
        encoded = columns.get(name, pa.nulls(rows, pa.string())).dictionary_encode()
        texts = [".".join(map(_sortable, re.findall(r"\d+", v or ""))) for v in encoded.dictionary.to_pylist()]
        parts.append(pc.fill_null(pa.array([*texts, ""], pa.string()).take(pc.fill_null(encoded.indices, len(texts))), ""))
    # a space sorts before every digit and point, so that a missing version and a shorter one come first
    return pc.binary_join_element_wise(*parts, " ")


def _sortable(number: str) -> str:
    """Give digits that sort as numbers do: in front how many there are."""
    digits = number.lstrip("0")
    return f"{len(digits):02d}{digits}"


def _sources(schema: pa.Schema, layout: AlertLayout) -> Iterator[tuple[str, str | None, pa.Field]]:
    """Give each value of an alert: its name, its family (None: not stored) and its field."""
    structs = {family.struct: name for name, family in layout.families.items() if family.struct}
    roots = {root: name for name, family in layout.families.items() for root in family.root}
    rest = next((name for name, family in layout.families.items() if family.rest), None)
    stamps = {path.partition(".")[0] for path in layout.stamps.values()}
    for field in schema:
        if field.name in structs:
            if not pa.types.is_struct(field.type):
                raise BadValue(f"the column {field.name} is not a struct", field=field.name)
            for sub in field.type:
                yield sub.name, structs[field.name], sub
        elif field.name in roots:
            yield field.name, roots[field.name], field
        elif field.name in layout.not_stored:
            yield field.name, None, field
        elif field.name != layout.history and field.name not in stamps and field.name not in layout.recognised_by:
            yield field.name, rest, field


def _values(alerts: pa.Table, name: str, layout: AlertLayout, family: str) -> pa.Array:
    struct = layout.families[family].struct
    if struct and struct in alerts.column_names and name not in layout.families[family].root:
        return pc.struct_field(_array(alerts[struct]), name)
    return _array(alerts[name])


def _nested(values: pa.Array, name: str, nested: Nested) -> Iterator[tuple[str, pa.Array]]:
    for cell in nested.cells:
        part = _part(values, cell)
        # a map does not say which keys it may have: one that no alert has is no column
        if part is not None and not (pa.types.is_map(values.type) and part.null_count == len(part)):
            yield f"{name}_{cell}", part
    if nested.text:
        if not pa.types.is_struct(values.type):
            raise BadValue(f"the column {name} is not a struct", field=name)
        missing = pa.nulls(len(values), pa.float64())
        parts = [part if (part := _part(values, item)) is not None else missing for item in nested.text]
        yield name, list_text(parts, values.is_valid())


def _part(values: pa.Array, key: str) -> pa.Array | None:
    if pa.types.is_map(values.type):
        return pc.map_lookup(values, pa.scalar(key), "first")
    if pa.types.is_struct(values.type) and values.type.get_field_index(key) >= 0:
        return pc.struct_field(values, key)
    return None


def _parts(kind: pa.DataType) -> list[str]:
    return [field.name for field in kind] if pa.types.is_struct(kind) else []


def _part_type(kind: pa.DataType, cell: str) -> pa.DataType:
    if pa.types.is_map(kind):
        return kind.item_type
    return kind.field(cell).type if pa.types.is_struct(kind) and kind.get_field_index(cell) >= 0 else pa.null()


def _stamp(alerts: pa.Table, path: str) -> pa.Array:
    top, _, rest = path.partition(".")
    values = _array(alerts[top])
    return cast_exactly(pc.struct_field(values, rest) if rest else values, pa.binary(), path)


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
