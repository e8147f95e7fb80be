"""The plain form of alerts and records: each value in one Arrow type, whichever way of Arrow it was written in.

Programs write the same value in many ways: text as `string`, `large_string`, `string_view` or in a dictionary; a map as
`map`, or as a list of keys and values; a list in five types; null lists with values behind them. What reads files and
uploads brings them to this form first, so that the rest of ingest knows one way of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.declarations import AlertLayout
from flight_server.ingest.plain_values import plain_value_type, plain_values
from flight_server.protocol.errors import BadValue, TooLarge

__all__ = ["MAX_BYTES", "plain_schema", "plain_table"]

MAX_BYTES = 2**31 - 1  # of all values of a column: what the offsets of a string can address
PAIR = 2
MAP_FIELDS = ["key", "value"]


def plain_schema(schema: pa.Schema, layout: AlertLayout | None = None) -> pa.Schema:
    """Return the schema of the plain form, without metadata; see `plain_table`.

    >>> plain_schema(pa.schema([("a", pa.list_view(pa.dictionary(pa.int8(), pa.large_string())))])).field("a").type
    ListType(list<item: string>)
    """
    fields = [pa.field(field.name, _plain_type(field.type, as_map=_is_nested(field.name, layout))) for field in schema]
    return pa.schema(_with_alert_id(fields, layout))


def plain_table(table: pa.Table, layout: AlertLayout | None = None, *, limit: int = MAX_BYTES) -> pa.Table:
    """Return rows in their plain form.

    Parameters
    ----------
    table
        n rows, with the columns of a file or an upload.
    layout
        For alerts their layout. It says which columns are maps, and where the alert ID is if its own column is missing.
    limit
        The most bytes to which dictionaries and runs of equal values may unfold.

    Raises
    ------
    TooLarge
        They unfold to more.
    BadValue
        A value has no plain form; the message names the column.

    Examples
    --------
    >>> rows = pa.table({"a": pa.array([["x"], None], pa.large_list(pa.large_string()))})
    >>> plain_table(rows).schema.field("a").type
    ListType(list<item: string>)
    """
    schema = plain_schema(table.schema, layout)
    unfolding = _Unfolding(limit)
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = _plain_type(field.type, as_map=_is_nested(field.name, layout))
        with _naming(field.name):
            columns.append(pa.chunked_array([_plain(chunk, kind, unfolding) for chunk in column.chunks], kind))
    if layout is not None and (known := _alert_id(table.schema, layout)) is not None:
        top, inner = known
        found = pc.struct_field(columns[table.schema.get_field_index(top)], inner)
        place = table.schema.get_field_index(layout.block.alert_id)
        if place < 0:
            columns.append(found)
        elif columns[place].null_count and columns[place].type == found.type:
            columns[place] = pc.coalesce(columns[place], found)
    return pa.Table.from_arrays(columns, schema=schema)


class _Unfolding:
    """The bytes that dictionaries and runs of equal values may still unfold to."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit

    def take(self, values: pa.Array, places: pa.Array) -> pa.Array:
        """Return the values at the places, unless they are too large together."""
        kind = values.type
        if (
            pa.types.is_binary(kind)
            or pa.types.is_large_binary(kind)
            or pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
        ):
            size = pc.sum(pc.binary_length(values).take(places)).as_py() or 0
        else:
            size = -(-values.nbytes // max(len(values), 1)) * len(places)
        self._left -= size
        if self._left < 0:
            raise TooLarge(
                f"its equal values unfold to more than {self._limit} bytes: give fewer rows at a time, or the values themselves",
                field="batch",
            )
        return values.take(places)


@contextmanager
def _naming(column: str) -> Iterator[None]:
    """Name the column in errors."""
    try:
        yield
    except (pa.ArrowException, OverflowError, ValueError) as error:
        raise BadValue(f"the column {column} cannot be read: {error}"[:200], field=column) from error
    except (BadValue, TooLarge) as error:
        raise type(error)(f"column {column}: {error.message}", field=column, value=error.value) from error


def _is_nested(name: str, layout: AlertLayout | None) -> bool:
    return layout is not None and name in layout.nested


def _alert_id(schema: pa.Schema, layout: AlertLayout) -> tuple[str, str] | None:
    """Return the struct and its field that hold the alert ID besides the column of it, or None if there is no such field.

    Some packets lack that column, or have nulls in it.
    """
    struct, name = layout.points, layout.alert_id.partition(":")[2]
    place = schema.get_field_index(struct)
    if place < 0 or not pa.types.is_struct(schema.field(place).type):
        return None
    return (struct, name) if schema.field(place).type.get_field_index(name) >= 0 else None


def _with_alert_id(fields: list[pa.Field], layout: AlertLayout | None) -> list[pa.Field]:
    schema = pa.schema(fields)
    if layout is None or layout.block.alert_id in schema.names or (known := _alert_id(schema, layout)) is None:
        return fields
    return [*fields, pa.field(layout.block.alert_id, schema.field(known[0]).type.field(known[1]).type)]


def _plain_type(kind: pa.DataType, *, as_map: bool = False) -> pa.DataType:
    """Return the type of the plain form of a type; `as_map` says that a list of pairs is meant as a map."""
    inner = _wrapped(kind)
    if inner is not None:
        return _plain_type(inner, as_map=as_map)
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain_type(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_key_type(kind.key_type), _plain_type(kind.item_type))
    return _list_type(_plain_type(kind.value_type), as_map=as_map) if _is_list(kind) else plain_value_type(kind)


def _wrapped(kind: pa.DataType) -> pa.DataType | None:
    """Return the type of the values in dictionaries, in runs, and in types of extensions that say nothing on one value."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return kind.value_type
    is_other = isinstance(kind, pa.BaseExtensionType) and plain_value_type(kind) == kind
    return kind.storage_type if is_other else None


def _list_type(item: pa.DataType, *, as_map: bool) -> pa.DataType:
    """Return the type of a list of items in their plain form, a map if it is meant as one."""
    if as_map and pa.types.is_null(item):  # no map has an entry
        return pa.map_(pa.string(), item)
    pair = _pair(item)
    is_map = pair is not None and pa.types.is_string(pair[0]) and (as_map or _names(item) == MAP_FIELDS)
    return pa.map_(*pair) if is_map and pair else pa.list_(item)


def _key_type(kind: pa.DataType) -> pa.DataType:
    """Return the plain type of keys: text, also where a file does not say that its bytes are text."""
    plain = _plain_type(kind)
    return pa.string() if pa.types.is_binary(plain) else plain


def _is_list(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in (*tests, pa.types.is_list_view, pa.types.is_large_list_view))


def _pair(item: pa.DataType) -> tuple[pa.DataType, pa.DataType] | None:
    """Return the types of key and value if the items of a list are pairs: structs of two fields, or lists of text."""
    if pa.types.is_struct(item) and item.num_fields == PAIR:
        return item.field(0).type, item.field(1).type
    return (item.value_type, item.value_type) if pa.types.is_list(item) else None


def _names(item: pa.DataType) -> list[str]:
    return [field.name for field in item] if pa.types.is_struct(item) else []


def _plain(values: pa.Array, kind: pa.DataType, unfolding: _Unfolding) -> pa.Array:
    """Return values in their plain form, whose type is `kind`."""
    given = values.type
    if _wrapped(given) is not None:
        return _plain(_unwrapped(values, unfolding), kind, unfolding)
    if pa.types.is_struct(given):
        return _struct(values, kind, unfolding)
    if pa.types.is_map(given):
        return _list(_entry_lists(values), kind, unfolding)
    if _is_list(given):
        return _list(values, kind, unfolding)
    found = plain_values(values)
    return found if found.type == kind else found.cast(kind)


def _unwrapped(values: pa.Array, unfolding: _Unfolding) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        return unfolding.take(values.dictionary, values.indices)
    return _unrolled(values, unfolding) if pa.types.is_run_end_encoded(values.type) else values.storage


def _struct(values: pa.Array, kind: pa.DataType, unfolding: _Unfolding) -> pa.Array:
    if not kind.num_fields:
        return values
    # flatten() makes what stands behind a null struct null
    parts = [_plain(part, field.type, unfolding) for part, field in zip(values.flatten(), kind, strict=True)]
    return pa.StructArray.from_arrays(parts, fields=list(kind), mask=values.is_null() if values.null_count else None)


def _list(values: pa.Array, kind: pa.DataType, unfolding: _Unfolding) -> pa.Array:
    flat = pc.list_flatten(values)  # leaves out what stands behind a null list
    offsets = _offsets(values)
    if pa.types.is_map(kind):
        return pa.MapArray.from_arrays(offsets, *_entries(flat, kind, unfolding))
    return pa.ListArray.from_arrays(offsets, _plain(flat, kind.value_type, unfolding), type=kind)


def _entry_lists(values: pa.Array) -> pa.Array:
    """Return maps as lists of their entries."""
    entries = pa.StructArray.from_arrays([values.keys, values.items], names=MAP_FIELDS)
    nulls = values.is_null() if values.null_count else None
    return pa.ListArray.from_arrays(pa.array(values.offsets.to_numpy()), entries, mask=nulls)


def _unrolled(values: pa.Array, unfolding: _Unfolding) -> pa.Array:
    """Return the values of runs one by one."""
    ends = values.run_ends.to_numpy().astype(np.int64)
    places: npt.NDArray[np.int64] = np.searchsorted(ends, np.arange(values.offset, values.offset + len(values)), side="right")
    return unfolding.take(values.values, pa.array(places))


def _offsets(values: pa.Array) -> pa.Array:
    """Return the offsets of lists without anything behind null ones; null at null lists."""
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    nulls = np.append(values.is_null().to_numpy(zero_copy_only=False), False)
    return pa.array(ends, pa.int32(), mask=nulls if values.null_count else None)


def _entries(flat: pa.Array, kind: pa.MapType, unfolding: _Unfolding) -> tuple[pa.Array, pa.Array]:
    """Return the keys and items of a map, given its entries one after the other."""
    pairs = _plain(flat, _plain_type(flat.type), unfolding)
    if pa.types.is_null(pairs.type):
        keys, items = pairs.cast(pa.string()), pairs
    elif pa.types.is_struct(pairs.type):
        keys, items = pairs.flatten()
    else:
        if pc.any(pc.fill_null(pc.not_equal(pc.list_value_length(pairs), PAIR), fill_value=True)).as_py():
            raise BadValue("a list in place of a map has entries that are not pairs of key and value", field="path")
        keys, items = pc.list_element(pairs, 0), pc.list_element(pairs, 1)
    if keys.null_count:
        raise BadValue("a key of a map is null", field="path")
    return keys if keys.type == kind.key_type else keys.cast(kind.key_type), items
