"""DuckDB on the same rows: a native table, ordered as the store is, with an index on the object ID."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from flight_server.execution.archive import Archive
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query

__all__ = ["duck_queries"]


def duck_queries(
    archive: Archive, file: Path, columns: Sequence[str]
) -> tuple[Callable[[str], pa.Table], Callable[[Sequence[str]], pa.Table]]:
    """Return two in-process queries to Arrow: all columns of one object, and of many in one query."""
    if not file.exists():
        _build(archive, file, columns)
    connection = duckdb.connect(str(file), read_only=True)

    def one(object_id: str) -> pa.Table:
        return connection.sql('SELECT * FROM ztf WHERE "i:objectId" = ?', params=[object_id]).to_arrow_table()

    def many(ids: Sequence[str]) -> pa.Table:
        asked = pa.table({"id": pa.array(ids)})
        connection.register("asked", asked)
        return connection.sql('SELECT ztf.* FROM ztf SEMI JOIN asked ON ztf."i:objectId" = asked.id').to_arrow_table()

    return one, many


def _build(archive: Archive, file: Path, columns: Sequence[str]) -> None:
    unfinished = file.with_name(file.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    answer = archive.answer(Query(table="ztf", all=True, columns=tuple(columns)), Caller())
    rows = pa.RecordBatchReader.from_batches(answer.schema, (message.batch for message in answer.messages))
    with duckdb.connect(str(unfinished)) as connection:
        connection.register("rows", rows)
        connection.execute("CREATE TABLE ztf AS SELECT * FROM rows")
        connection.execute('CREATE INDEX object_id ON ztf ("i:objectId")')
    unfinished.rename(file)
