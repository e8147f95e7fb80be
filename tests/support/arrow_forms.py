"""The same alerts in other Arrow types: each of Arrow's ways to write text, numbers, lists, maps and structs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Leaf = Callable[[pa.Array], pa.Array]
Lists = Callable[[pa.Array, pa.Array, pa.Array], pa.Array]  # of lengths, items, and which lists are null
Maps = Callable[[pa.Array, pa.Array, pa.Array, pa.Array], pa.Array]  # of lengths, keys, items, and which maps are null


def ends(lengths: pa.Array, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths.to_numpy(zero_copy_only=False))]), kind or pa.int32())


def plain_list(lengths: pa.Array, items: pa.Array, nulls: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(ends(lengths), items, mask=nulls)


def large_list(lengths: pa.Array, items: pa.Array, nulls: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(ends(lengths, pa.int64()), items, mask=nulls)


def list_view(lengths: pa.Array, items: pa.Array, nulls: pa.Array) -> pa.Array:
    return pa.ListViewArray.from_arrays(ends(lengths)[:-1], lengths.cast(pa.int32()), items, mask=nulls)


def large_list_view(lengths: pa.Array, items: pa.Array, nulls: pa.Array) -> pa.Array:
    return pa.LargeListViewArray.from_arrays(ends(lengths, pa.int64())[:-1], lengths.cast(pa.int64()), items, mask=nulls)


def plain_map(lengths: pa.Array, keys: pa.Array, items: pa.Array, nulls: pa.Array) -> pa.Array:
    return pa.MapArray.from_arrays(ends(lengths), keys, items, mask=nulls)


def listed_map(lists: Lists, *names: str) -> Maps:
    """Return the function that writes a map as a list of structs."""

    def make(lengths: pa.Array, keys: pa.Array, items: pa.Array, nulls: pa.Array) -> pa.Array:
        return lists(lengths, pa.StructArray.from_arrays([keys, items], names=list(names)), nulls)

    return make


def paired_map(lengths: pa.Array, keys: pa.Array, items: pa.Array, nulls: pa.Array) -> pa.Array:
    """Write a map of text as lists of two texts, which is what pandas makes of it."""
    if not pa.types.is_string(items.type):
        return plain_map(lengths, keys, items, nulls)
    flat = pa.chunked_array([keys, items]).combine_chunks().take(pa.array(np.arange(2 * len(keys)).reshape(2, -1).T.ravel()))
    return plain_list(lengths, plain_list(pa.array([2] * len(keys)), flat, pa.array([False] * len(keys))), nulls)


@dataclass(frozen=True)
class Form:
    """A way to write values: of leaves, lists and maps; `behind`: whether nulls hide values."""

    leaf: Leaf = lambda values: values
    lists: Lists = plain_list
    maps: Maps = plain_map
    behind: bool = False

    def table(self, alerts: pa.Table) -> pa.Table:
        return pa.table({name: self.array(alerts[name].combine_chunks()) for name in alerts.column_names})

    def array(self, values: pa.Array) -> pa.Array:
        kind, nulls = values.type, values.is_null()
        if not pa.types.is_nested(kind):
            return self.leaf(values)
        if self.behind and 0 < values.null_count < len(values):
            valid = pc.index(nulls, value=False)
            values = values.take(pc.if_else(nulls, valid, pa.array(range(len(values)))))
        if pa.types.is_struct(kind):
            return pa.StructArray.from_arrays(
                [self.array(part) for part in values.flatten()], names=[sub.name for sub in kind], mask=nulls
            )
        if pa.types.is_map(kind):
            lists = plain_list(
                pa.array(np.diff(values.offsets.to_numpy())),
                pa.StructArray.from_arrays([values.keys, values.items], names=["key", "value"]),
                values.is_null(),
            )
            keys, items = lists.flatten().flatten()
            return self.maps(_lengths(lists), self.array(keys), self.array(items), nulls)
        return self.lists(_lengths(values), self.array(values.flatten()), nulls)


def _lengths(lists: pa.Array) -> pa.Array:
    return pc.fill_null(pc.list_value_length(lists), 0)


def as_large(values: pa.Array) -> pa.Array:
    return _text(values, pa.large_string(), pa.large_binary())


def as_view(values: pa.Array) -> pa.Array:
    return _text(values, pa.string_view(), pa.binary_view())


def as_dictionary(values: pa.Array) -> pa.Array:
    return values if pa.types.is_null(values.type) else values.dictionary_encode()


def as_large_dictionary(values: pa.Array) -> pa.Array:
    return as_dictionary(as_large(values))


def as_runs(values: pa.Array) -> pa.Array:
    return values if pa.types.is_null(values.type) else pc.run_end_encode(values)


def as_decimal(values: pa.Array) -> pa.Array:
    """Write integers as decimal numbers of 20 digits and 2 behind the point."""
    return values.cast(pa.decimal128(22, 2)) if pa.types.is_integer(values.type) else values


def as_short_decimal(values: pa.Array) -> pa.Array:
    return values.cast(pa.decimal128(10, 0)) if values.type == pa.int32() else values


def as_unsigned(values: pa.Array) -> pa.Array:
    whole = pa.types.is_integer(values.type) and (pc.min(values).as_py() or 0) >= 0
    return values.cast(pa.uint64() if values.type == pa.int64() else pa.uint32()) if whole else values


def as_widest(values: pa.Array) -> pa.Array:
    if pa.types.is_integer(values.type):
        return values.cast(pa.int64())
    return values.cast(pa.float64()) if pa.types.is_floating(values.type) else values


def as_narrowest(values: pa.Array) -> pa.Array:
    """Write numbers in the smallest type that holds them all exactly."""
    kinds = (pa.int8(), pa.int16(), pa.int32(), pa.float16(), pa.float32())
    for kind in kinds if pa.types.is_integer(values.type) or pa.types.is_floating(values.type) else ():
        found = values.cast(kind, safe=False)
        if found.cast(values.type, safe=False).equals(values) and pa.types.is_integer(kind) == pa.types.is_integer(values.type):
            return found
    return values


def as_bytes(values: pa.Array) -> pa.Array:
    """Write text as bytes, as old programs do that do not say that it is text."""
    return values.cast(pa.binary()) if pa.types.is_string(values.type) else values


def as_extension(values: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(pa.opaque(values.type, "value", "somebody"), values)


def _text(values: pa.Array, text: pa.DataType, content: pa.DataType) -> pa.Array:
    if pa.types.is_string(values.type):
        return values.cast(text)
    return values.cast(content) if pa.types.is_binary(values.type) else values


LEAVES = {
    leaf.__name__: leaf
    for leaf in (
        *(as_large, as_view, as_dictionary, as_large_dictionary, as_runs, as_decimal, as_short_decimal),
        *(as_unsigned, as_widest, as_narrowest, as_bytes, as_extension),
    )
}
LISTS = {"large_list": large_list, "list_view": list_view, "large_list_view": large_list_view}
MAPS = {
    "key_value": listed_map(plain_list, "key", "value"),
    "large_key_value": listed_map(large_list, "key", "value"),
    "view_first_second": listed_map(list_view, "_1", "_2"),
    "pairs": paired_map,
}


def mixed(seed: int) -> Form:
    """Return a form that writes each array in another way, by chance."""
    chance = random.Random(seed)
    leaves, lists, maps = ([*ways.values()] for ways in (LEAVES, {"": plain_list, **LISTS}, {"": plain_map, **MAPS}))
    texts = [leaf for leaf in leaves if leaf is not as_bytes]  # the type of unknown columns depends on it
    return Form(
        leaf=_any_of(texts, chance),
        lists=_any_of(lists, chance),
        maps=_any_of(maps, chance),
        behind=bool(seed % 2),
    )


def _any_of(ways: list[Callable[..., pa.Array]], chance: random.Random) -> Callable[..., pa.Array]:
    """Return the function that chooses a way anew for each array."""

    def write(*parts: pa.Array) -> pa.Array:
        return chance.choice(ways)(*parts)

    return write


FORMS = {
    **{name: Form(leaf=leaf) for name, leaf in LEAVES.items()},
    **{name: Form(lists=lists) for name, lists in LISTS.items()},
    **{name: Form(maps=maps) for name, maps in MAPS.items()},
    "hidden": Form(behind=True),
    "hidden_large": Form(leaf=as_large, lists=large_list, maps=MAPS["large_key_value"], behind=True),
    **{f"mixed-{seed}": mixed(seed) for seed in range(4)},
}
