"""The tables of an embedded store, written into HBase as the broker writes them: by Java's own client, not by ingest.

The rules are those of the broker: which columns have cells, how a cell has its value, which tables have schema rows, and
files of alerts on HDFS as the blocks of cutouts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hdfs_native
import pyarrow as pa
from archives import Opened
from cluster_admin import ClusterAdmin

from flight_server.catalog.catalog import Catalog, load_catalog
from flight_server.catalog.columns import Projection
from flight_server.catalog.declarations import Table
from flight_server.storage.scans import Scan

RELEASE, EARLIER = "schema_4.0_6.1.1", "schema_3.1_5.0"
ROWS_TOGETHER = 500
NO_SCHEMA_ROW = {"ztf.metadata"}
ONLY_IN_KEY = {"ztf.class": {"d:classification"}, "ztf.metadata": {"i:objectId"}, "statistics_class": {"basic:night"}}
KINDS: Mapping[pa.DataType, tuple[str, Callable[[Any], bytes]]] = {
    pa.string(): ("string", str.encode),
    pa.int32(): ("integer", lambda value: struct.pack(">i", value)),
    pa.int64(): ("long", lambda value: struct.pack(">q", value)),
    pa.float32(): ("float", lambda value: struct.pack(">f", value)),
    pa.float64(): ("double", lambda value: struct.pack(">d", value)),
    pa.bool_(): ("boolean", lambda value: str(value).lower().encode()),
}


def write_tables(admin: ClusterAdmin, hdfs: str, prefix: str, opened: Opened) -> None:
    """Write all tables.

    Parameters
    ----------
    admin, hdfs
        The cluster.
    prefix
        The prefix of the tables' names, and the folder of blocks.
    opened
        The embedded store with the rows.
    """
    blocks = f"/{prefix}/science/year=2020/month=08/day=31/"
    _write_blocks(hdfs, blocks, sorted((opened.settings.folder / "blocks").glob("*.parquet")))
    view = opened.store.view()
    catalog = load_catalog().with_stored(view.columns)
    tables = list(catalog.surveys["ztf"].tables.values())
    for families in {table.families for table in tables}:
        names = [prefix + table.name for table in tables if table.families == families]
        admin.create(*names, families=(*families, "a"))
    for table in tables:
        columns = _columns(catalog, table)
        _write_schema(admin, prefix, table, columns)
        rows: dict[bytes, dict[str, bytes]] = {}
        for some in view.scan(Scan(table=table, columns=columns)):
            for key, cells in zip(some.keys.tolist(), some.batch.to_pylist(), strict=True):
                if table.path is not None:  # with a host that is not that of this cluster, as after a move
                    cells[table.path] = f"hdfs://134.158.75.222:8020{blocks}{Path(cells[table.path]).name}"
                rows[key] = dict(_cells(columns, cells))
                if len(rows) == ROWS_TOGETHER:
                    admin.put_rows(prefix + table.name, rows)
                    rows.clear()
        if rows:
            admin.put_rows(prefix + table.name, rows)


def _columns(catalog: Catalog, table: Table) -> Projection:
    """Return the columns that have cells."""
    left_out = ONLY_IN_KEY.get(table.name, set())
    return Projection(column for name, column in catalog.stored_columns(table).items() if name not in left_out)


def _write_schema(admin: ClusterAdmin, prefix: str, table: Table, columns: Projection) -> None:
    if table.name in NO_SCHEMA_ROW:
        return
    types = {column.name: KINDS[column.type][0] for column in columns}
    admin.put_schema(prefix + table.name, RELEASE, types)
    # an earlier release had some columns less
    earlier = dict(list(types.items())[: max(1, len(types) - 2)])
    admin.put_schema(prefix + table.name, EARLIER, earlier)


def _cells(columns: Projection, cells: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the cells of a row; a null has none."""
    for column in columns:
        value = cells[column.name]
        if value is not None:
            yield column.name, KINDS[column.type][1](value)


def _write_blocks(hdfs: str, folder: str, files: Iterable[Path]) -> None:
    client = hdfs_native.Client(hdfs)
    client.mkdirs(folder, 0o755, create_parent=True)
    for file in files:
        with client.create(f"{folder}{file.name}", hdfs_native.WriteOptions(overwrite=True)) as writer:
            writer.write(file.read_bytes())
