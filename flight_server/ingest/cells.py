"""Flattening of nested alerts to cells: one Arrow column for each family-qualified name."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.declarations import AlertLayout, Nested, Table
from flight_server.catalog.widening import widest
from flight_server.ingest.casts import cast_exactly, cast_open, stored_type
from flight_server.ingest.java_text import list_text
from flight_server.protocol.errors import BadValue

__all__ = ["ROW_LABELS", "SURE", "Cells", "cell_types", "flatten", "version_text"]


SURE = 2**53  # float64 represents all integers below
EVERY = ""  # the part of the cells that all tables have
ROW_LABELS = re.compile(r"__index_level_\d+__")  # pandas writes those of its frames as columns


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of n alerts: `columns` by name, cutouts by kind, sortable versions, and the histories by name.

    `structs` has the cells of each struct by name, since several may have the same names; `same` those that are the same
    in all of them, and `columns` those of every table.
    `rounded` counts the values that lost decimal digits, by column.
    """

    columns: Mapping[str, pa.Array]
    stamps: Mapping[str, pa.Array]
    version: pa.StringArray
    histories: Mapping[str, pa.ListArray]
    structs: Mapping[str, Mapping[str, pa.Array]] = dataclasses.field(default_factory=dict)
    same: Mapping[str, pa.Array] = dataclasses.field(default_factory=dict)
    rounded: Counter[str] = dataclasses.field(default_factory=Counter)

    def filled(self) -> set[str]:
        """Return the names with a value."""
        parts = (self.columns, *self.structs.values())
        return {name for part in parts for name, values in part.items() if values.null_count < len(values)}

    def empty(self) -> set[str]:
        """Return the names without any value."""
        return {*self.columns, *(name for part in self.structs.values() for name in part)} - self.filled()

    def of(self, table: Table) -> Mapping[str, pa.Array]:
        """Return the cells of a table, by name; of its structs the first counts that has a name."""
        found: dict[str, pa.Array] = {}
        for struct in reversed(table.structs):
            found |= self.structs.get(struct, {})
        return {**found, **self.same, **self.columns}


def cell_types(schema: pa.Schema, layout: AlertLayout) -> tuple[dict[str, pa.DataType], list[str]]:
    """Return the cells of a file's alerts with the types of the file, and the names of its columns that are not stored.

    Raises
    ------
    BadValue
        A column occurs twice, or has a shape from which its cells cannot be taken.
    """
    _check_shapes(schema, layout)
    types: dict[str, pa.DataType] = {}
    found: set[tuple[str, str]] = set()
    left_out = []
    for source in _sources(schema, layout):
        kind = source.field.type
        if source.family is None:
            left_out.append(source.field.name)
        elif source.field.name in layout.nested:
            nested = layout.nested[source.field.name]
            types |= {f"{source.name}_{cell}": _part_type(kind, cell) for cell in nested.cells}
            types |= {source.name: pa.string()} if nested.text else {}
            left_out += [f"{source.field.name}.{part}" for part in _parts(kind) if part not in nested.cells + nested.text]
        elif stored_type(kind) or pa.types.is_null(kind):
            if (source.part, source.name) in found:
                raise BadValue(f"the column {source.name} occurs twice in the file", field=source.name)
            found.add((source.part, source.name))
            types[source.name] = _both(types[source.name], kind) if source.name in types else kind
        else:
            left_out.append(source.field.name)
    return types, left_out


def flatten(
    alerts: pa.Table, layout: AlertLayout, types: Mapping[str, pa.DataType], widening: Collection[str] = frozenset()
) -> Cells:
    """Flatten alerts and cast their cells.

    Parameters
    ----------
    alerts
        n alerts in their plain form; see `plain_table`.
    layout
        The layout of the survey.
    types
        The type of each cell; cells of other names are left out.
    widening
        The cells that the catalog does not type.

    Raises
    ------
    BadValue
        A value does not fit its type; the message names column and row.
    """
    alerts = alerts.combine_chunks()
    parts: dict[str, dict[str, pa.Array]] = {EVERY: {}}
    rounded: Counter[str] = Counter()
    for source in _sources(alerts.schema, layout):
        if source.family is None:
            continue
        if source.struct is None:
            values = _array(alerts[source.field.name])
        else:
            values = pc.struct_field(_array(alerts[source.struct]), source.field.name)
        if source.field.name in layout.nested:
            found = dict(_nested(values, source.name, layout.nested[source.field.name]))
        else:
            found = {source.name: values}
        columns = parts.setdefault(source.part, {})
        if source.name in layout.same and source.part == layout.points:
            _check_sure(values, source.name)
        for cell, part in found.items():
            if cell in widening and cell in types:
                columns[cell] = cast_open(part, types[cell], cell)
            elif cell in types:
                columns[cell] = cast_exactly(part, types[cell], cell, rounded)
    stamps = {kind: _stamp(alerts, path) for kind, path in layout.stamps.items() if path.partition(".")[0] in alerts.column_names}
    histories = {name: _array(alerts[name]) for name in layout.histories if name in alerts.column_names}
    filled = {name: lists for name, lists in histories.items() if pa.types.is_list(lists.type) and not _is_empty(lists.type)}
    columns = parts.pop(EVERY)
    version = version_text({**parts.get(layout.points, {}), **columns}, layout.version, len(alerts))
    same = {name: values for name, values in parts.get(layout.points, {}).items() if name in layout.same}
    return Cells(columns, stamps, version, filled, parts, same, rounded)


def _check_sure(values: pa.Array, column: str) -> None:
    """Raise if IDs are floating-point numbers so large that they may have been rounded."""
    if pa.types.is_floating(values.type):
        row = pc.index(pc.fill_null(pc.greater_equal(pc.abs(values), float(SURE)), fill_value=False), value=True).as_py()
        if row >= 0:
            message = f"column {column}, row {row}: {values[row].as_py():.17g} is a floating-point number, which rounds IDs"
            raise BadValue(f"{message}: write the column as integers", field=column, value=values[row].as_py())


def version_text(columns: Mapping[str, pa.Array], names: tuple[str, ...], rows: int) -> pa.StringArray:
    """Return text that sorts in version order: number by number, a missing version first.

    >>> version_text({"v": pa.array(["3.10", "3.9", None])}, ("v",), 3).to_pylist()
    ['013.0210', '013.019', '']
    """
    parts = []
    for name in names:
        encoded = columns.get(name, pa.nulls(rows, pa.string())).dictionary_encode()
        texts = [".".join(map(_sortable, re.findall(r"\d+", v or ""))) for v in encoded.dictionary.to_pylist()]
        parts.append(pc.fill_null(pa.array([*texts, ""], pa.string()).take(pc.fill_null(encoded.indices, len(texts))), ""))
    # a space sorts before digits and points, so missing and shorter versions come first
    return pc.binary_join_element_wise(*parts, " ")


def _sortable(number: str) -> str:
    """Return digits prefixed by their count, so that they sort as numbers."""
    digits = number.lstrip("0")
    return f"{len(digits):02d}{digits}"


@dataclass(frozen=True, slots=True)
class _Source:
    """The source of a cell in an alert: the name of the cell, its family (None: not stored), its struct, its field.

    `part` is the struct if the cell is one of the tables of the struct only.
    """

    name: str
    family: str | None
    struct: str | None
    field: pa.Field
    part: str = EVERY


def _sources(schema: pa.Schema, layout: AlertLayout) -> Iterator[_Source]:
    structs = layout.structs
    prefixed = {
        struct: f"{name}:{front}" for name, family in layout.families.items() for struct, front in family.prefixed.items()
    }
    roots = {root: name for name, family in layout.families.items() for root in family.root}
    rest = next((name for name, family in layout.families.items() if family.rest), None)
    stamps = {path.partition(".")[0] for path in layout.stamps.values()}
    for field in schema:
        if field.name in structs:
            family = structs[field.name]
            parts = field.type if pa.types.is_struct(field.type) else ()  # null where no alert has it
            yield from (_Source(f"{family}:{sub.name}", family, field.name, sub, field.name) for sub in parts)
        elif field.name in prefixed:
            front = prefixed[field.name]
            parts = field.type if pa.types.is_struct(field.type) else ()
            yield from (_Source(f"{front}{sub.name}", front.partition(":")[0], field.name, sub) for sub in parts)
        elif field.name in roots:
            yield _Source(f"{roots[field.name]}:{field.name}", roots[field.name], None, field)
        elif field.name in layout.not_stored or ROW_LABELS.fullmatch(field.name):
            yield _Source(field.name, None, None, field)
        elif field.name not in stamps and field.name not in (*layout.histories, *layout.recognised_by):
            yield _Source(f"{rest}:{field.name}", rest, None, field)


def _check_shapes(schema: pa.Schema, layout: AlertLayout) -> None:
    """Raise BadValue unless the columns to be unpacked have the right shapes, so that no value is lost silently."""
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise BadValue(f"the column {twice} occurs twice in the file", field=twice)
    structs = [*layout.structs, *(struct for family in layout.families.values() for struct in family.prefixed)]
    for field in schema:
        kind, wanted = field.type, ""
        if field.name in structs and not pa.types.is_struct(kind):
            wanted = "a struct"
        elif field.name in layout.histories and not _is_history(kind):
            wanted = "a list of structs"
        elif field.name in layout.nested and not (pa.types.is_struct(kind) or pa.types.is_map(kind)):
            wanted = "a struct or a map"
        for path in layout.stamps.values():
            top, _, part = path.partition(".")
            if field.name == top and part and not (pa.types.is_struct(kind) and kind.get_field_index(part) >= 0):
                wanted = f"a struct with {part}"
        if wanted and not pa.types.is_null(kind):
            raise BadValue(f"the column {field.name} must be {wanted}, not {kind}"[:200], field=field.name)


def _is_history(kind: pa.DataType) -> bool:
    """Return whether a type is a list of points, also one of which no alert has any."""
    return bool(pa.types.is_list(kind) and (pa.types.is_struct(kind.value_type) or _is_empty(kind)))


def _is_empty(kind: pa.DataType) -> bool:
    """Return whether no list of a type has any point."""
    return bool(pa.types.is_null(kind.value_type))


def _both(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return a type for the values of two structs that have a name in common."""
    kinds = [kind for kind in map(stored_type, (one, other)) if kind is not None]
    return reduce(widest, kinds) if kinds else one


def _nested(values: pa.Array, name: str, nested: Nested) -> Iterator[tuple[str, pa.Array]]:
    if pa.types.is_null(values.type):
        return
    for cell in nested.cells:
        part = _part(values, cell)
        # the type of a map does not list its keys: a key that no alert has becomes no column
        if part is not None and part.null_count < len(part):
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
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), pa.binary())
    return cast_exactly(pc.struct_field(values, rest) if rest else values, pa.binary(), path)


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
