"""The JSON request for the cells of a scan, sent to the gateway."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from flight_server.catalog.columns import TYPES, Column
from flight_server.catalog.declarations import Table
from flight_server.storage.hbase.schema_rows import SCHEMA_KEY, TableSchema

__all__ = ["NAMED_MOST", "cells_wanted"]

# With more columns than this it is faster to read whole families and to drop the other columns.
# Measured by `scripts/bench hbase`: docs/performance.md.
NAMED_MOST = 48
_NAMES = {kind: name for name, kind in TYPES.items()}


def cells_wanted(table: Table, columns: Sequence[Column], schema: TableSchema) -> str:
    """Return the cells to read, as JSON for the gateway.

    The object ID, which is always written, is read too: HBase returns no row that has none of the requested cells, and a row
    without it is left out, whatever columns are requested. If the ID is in the row key only, whole families are read
    instead. So does a projection of all columns, however few there are, so that unknown cells are counted.
    """
    always = [table.id] if table.takes(table.id) else []
    wanted = [_words(column.name, _NAMES[column.type], schema.stored.get(column.name, ())) for column in columns]
    names = {column.name for column in columns}
    stored = [column.name for column in columns if column.name in schema.stored]
    words: dict[str, object] = {"columns": wanted, "skip": SCHEMA_KEY, "always": "".join(always)}
    if always and len(stored) <= NAMED_MOST and len(stored) < len(schema.columns):
        words["named"] = [{"name": name, "type": "binary"} for name in dict.fromkeys([*stored, *always])]
        words["known"] = [_words(table.id, "binary", ("binary",))] if table.id not in stored else []
    else:
        others = (name for name in schema.stored if name not in names)
        words["families"] = _families([*stored, *always]) if always else list(table.families)
        words["known"] = [_words(name, "binary", ("binary",)) for name in others]
    return json.dumps(words)


def _words(name: str, kind: str, stored: Sequence[str]) -> dict[str, object]:
    return {"name": name, "type": kind, "stored": list(stored)}


def _families(names: Iterable[str]) -> list[str]:
    return sorted({name.partition(":")[0] for name in names})
