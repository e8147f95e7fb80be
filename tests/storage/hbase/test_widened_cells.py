"""Columns of HBase that widen: older cells keep their bytes and are told from newer ones, also by servers with an older view."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from archives import Opened, messages
from hbase_ingested import Ingested
from store_faults import CHILD
from widening_columns import Value, night, spelled, write

from flight_server.protocol.errors import BackendLost
from flight_server.protocol.query import Query
from flight_server.storage.hbase.schema_rows import EARLIER


@pytest.fixture(scope="module")
def halves() -> tuple[pa.Table, pa.Table]:
    return night(0, 8), night(1, 8)


def scores(opened: Opened) -> tuple[pa.DataType, set[Any]]:
    found = messages(opened, Query(table="ztf", columns=("d:score",), all=True)).table
    return found.schema.field(0).type, {spelled(value, "") for value in found["d:score"].to_pylist()}


def stored(tables: Ingested) -> set[bytes]:
    return {row["d:score"].value for row in tables.cells("ztf").values() if "d:score" in row}


def spellings(*values: Value) -> set[Any]:
    return {spelled(value, "") for value in values}


def double(value: float) -> bytes:
    return struct.pack(">d", value)


def types(tables: Ingested) -> dict[str, str]:
    return {key.decode(): row["d:score"].value.decode() for key, row in tables.schema_rows("ztf").items() if "d:score" in row}


def test_older_cells_keep_their_bytes(empty: Ingested, halves: tuple[pa.Table, pa.Table], tmp_path: Path) -> None:
    one, other = halves
    opened = empty.open()
    opened.ingest(write(tmp_path / "a.parquet", one, "bool", [True, False]))
    (release,) = types(empty)
    opened.ingest(write(tmp_path / "b.parquet", other, "int32", [7]))
    assert scores(opened) == (pa.int32(), spellings(1, 0, 7))
    opened.ingest(write(tmp_path / "c.parquet", other, "int64", [-(2**50), 0]))
    opened.ingest(write(tmp_path / "d.parquet", other.slice(2), "double", [0.5, float("nan"), -0.0, float("-inf")]))
    assert types(empty) == {release: "double", EARLIER: "long,integer,boolean"}
    assert stored(empty) >= {b"true", b"false", struct.pack(">q", -(2**50)), double(0.5), double(-0.0)}
    # a NaN replaces no value that is stored
    expected = spellings(1.0, 0.0, -(2.0**50), 0.5, -0.0, float("-inf"))
    assert scores(opened) == (pa.float64(), expected)
    assert scores(empty.open()) == (pa.float64(), expected)


@pytest.mark.parametrize(
    "columns",
    [
        [("int64", 1), ("double", 5e-324)],
        [("bool", True), ("int32", 1953658213)],
        [("int64", 2**51), ("double", 0.5)],
    ],
)
def test_what_cells_could_not_tell_is_refused_by_column(
    empty: Ingested, halves: tuple[pa.Table, pa.Table], tmp_path: Path, columns: list[tuple[str, Value]]
) -> None:
    one, other = halves
    first, second = columns
    opened = empty.open()
    opened.ingest(write(tmp_path / "a.parquet", one, first[0], [first[1]]))
    before = scores(opened)
    file = write(tmp_path / "b.parquet", other, second[0], [second[1]])
    reason = opened.ingest(file).failures[file]
    assert "column d:score, row 0" in reason
    assert repr(second[1]) in reason
    assert "rename the column in the file" in reason
    assert scores(opened) == before


def test_a_server_with_an_older_view_reads_no_wrong_numbers(
    empty: Ingested, halves: tuple[pa.Table, pa.Table], tmp_path: Path
) -> None:
    one, other = halves
    opened, server = empty.open(), empty.open()
    for kinds, values in ((("int32", "double"), (3, 0.5)), (("int64", "double"), (4, 0.25))):
        part = one if kinds[0] == "int32" else other
        name = f"{kinds[0]}score"
        query = Query(table="ztf", columns=(f"d:{name}",), all=True)
        for number, (kind, value) in enumerate(zip(kinds, values, strict=True)):
            alerts = part.slice(number * 3, 3)
            file = write(tmp_path / f"{name}{number}.parquet", alerts, kind, [value])
            renamed = pa.parquet.read_table(file)
            renamed = renamed.rename_columns([name if column == "score" else column for column in renamed.column_names])
            pa.parquet.write_table(renamed, file)
            opened.ingest(file)
            if number == 0:
                server.store.refresh()
                assert set(messages(server, query).table[0].drop_null().to_pylist()) == {value}
        with pytest.raises(BackendLost, match="types of columns of ztf have changed"):
            messages(server, query)
        assert set(messages(server, query).table[0].drop_null().to_pylist()) == set(map(float, values))


def test_killed_again_and_again_and_then_run_to_its_end(
    hbase_stores: Any, halves: tuple[pa.Table, pa.Table], tmp_path: Path
) -> None:
    one, other = halves
    tables = Ingested(hbase_stores, hbase_stores.prefix_with_tables())
    first = write(tmp_path / "a.parquet", one, "int64", [5, -1])
    second = write(tmp_path / "b.parquet", other, "double", [0.5])
    opened = tables.open()
    assert not opened.ingest(first).failures
    whole = spellings(5.0, -1.0, 0.5)
    for point, turn in (("hbase.put", 1), ("hbase.committed", 1), ("hbase.put", 2), ("hbase.committed", 3)):
        words = [sys.executable, "-c", CHILD, "{}", "ingest", str(second), "--config", str(tables.config)]
        armed = os.environ | {"ALERTFLIGHT_INJECT": f"{point}:kill:{turn}"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=armed)
        assert done.returncode == -signal.SIGKILL, done.stderr
        kind, found = scores(tables.open())
        assert kind in {pa.int64(), pa.float64()}
        assert spellings(5.0, -1.0) <= found <= whole
    opened.store.refresh()
    assert not opened.ingest(second).failures
    assert scores(opened) == (pa.float64(), whole)
    assert EARLIER in types(tables)
    hbase_stores.give_back([tables.prefix])
