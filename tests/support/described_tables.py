"""Tables of HBase whose schema rows and cells a test writes itself."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from archives import Opened
from cluster_admin import ClusterAdmin
from hbase_stores import HBaseStores

from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query

ALWAYS = {"i:objectId": "string", "i:jd": "double"}
OLD, NEW = "schema_3.9_6.1.1", "schema_3.10_1.0.0"
UPPER = {"i:objectId": "string", "i:jd": "double", "i:fid": "integer", "i:diffmaglim": "float"}


def double(value: float) -> bytes:
    return struct.pack(">d", value)


def row(name: str = "ZTF1", jd: float = 2459000.5, **cells: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return a row from columns as keywords: `d__x` is `d:x`, `i__x` is `i:x`."""
    named = {column.replace("__", ":"): value for column, value in cells.items()}
    return f"{name}_{jd!r}".encode(), {"i:objectId": name.encode(), "i:jd": double(jd)} | named


@dataclass
class Tables:
    """Tables of a prefix of their own."""

    stores: HBaseStores
    prefix: str

    @property
    def admin(self) -> ClusterAdmin:
        return self.stores.admin

    def schema(self, rows: Mapping[str, Mapping[str, str]], table: str = "ztf") -> None:
        for key, types in rows.items():
            self.admin.put_schema(self.prefix + table, key, ALWAYS | types)

    def put(self, *rows: tuple[bytes, dict[str, bytes]], table: str = "ztf") -> None:
        self.admin.put_rows(self.prefix + table, dict(rows))

    def open(self, **sections: dict[str, Any]) -> Opened:
        return self.stores.open(self.prefix, **sections)

    def read(self, *columns: str, opened: Opened | None = None, **fields: Any) -> pa.Table:
        answer = (opened or self.open()).archive.answer(
            Query(**{"table": "ztf", "all": "ids" not in fields, "columns": columns or None, **fields}), Caller()
        )
        return pa.Table.from_batches([message.batch for message in answer.messages], schema=answer.schema)
