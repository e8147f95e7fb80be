"""An ingest that is killed any number of times and then completed leaves the same tables as a clean ingest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from alert_data import SAMPLES
from archives import ask, digest
from hbase_ingested import Ingested
from store_faults import CHILD, INGESTING_INTO_HBASE

SMALL = {"flight_server.storage.hbase.writer.BATCH_BYTES": 60_000}  # so that a table takes several batches
TABLES = ("ztf", "ztf.cutouts", "ztf.upper", "ztf.uppervalid")
# Each of these points is passed, whatever the kills before it left behind: what is there already is not written again.
KILLS = [
    ("hbase.created", 2),
    ("hdfs.drafted", 1),
    ("hdfs.published", 4),
    ("hbase.put", 1),  # of stamps
    ("hbase.committed", 3),  # all but the alerts
    ("hbase.put", 1),  # of alerts, one batch of several
]


@pytest.fixture
def tables(hbase_stores: Any) -> Any:
    return Ingested(hbase_stores, hbase_stores.prefix())


def ingest(tables: Any, armed: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", CHILD, json.dumps(SMALL), "ingest", str(SAMPLES), "--config", str(tables.config)]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | {"ALERTFLIGHT_INJECT": armed})


def contents(tables: Any) -> dict[str, dict[bytes, dict[str, bytes]]]:
    """Return the bytes of all cells without the names of blocks, which depend on the alerts that were still to be written."""
    found = {}
    for table in TABLES:
        rows = tables.stores.admin.rows(tables.prefix + table)
        found[table] = {
            key: {
                name: b"" if name == "d:hdfs_path" and not key.startswith(b"schema") else cell.value for name, cell in row.items()
            }
            for key, row in rows.items()
        }
    return found


def test_killed_again_and_again_and_then_run_to_its_end(
    ingested: Any, tables: Any, serve: Callable[..., fl.FlightClient]
) -> None:
    assert {point for point, _ in KILLS} == set(INGESTING_INTO_HBASE)
    for point, turn in KILLS:
        done = ingest(tables, f"{point}:kill:{turn}")
        assert done.returncode == -signal.SIGKILL, (point, turn, done.stderr)
        if tables.prefix + "ztf" in tables.stores.admin.tables() and (alerts := tables.cells("ztf")):
            # no alert is ever there without its stamps and its upper limits
            assert len(alerts) <= 108
            assert [len(tables.cells(table)) for table in TABLES[1:]] == [108, 551, 21]
    done = ingest(tables, "")
    assert done.returncode == 0, done.stderr
    assert contents(tables) == contents(ingested)
    wanted, found = (
        ask(serve(one.open()), table="ztf", all=True, cutouts=["Science", "Template", "Difference"]) for one in (ingested, tables)
    )
    assert found.record["missing_cutouts"] == 0
    assert digest(found.table) == digest(wanted.table)
    named = {row["d:hdfs_path"].value.decode() for row in tables.cells("ztf.cutouts").values()}
    blocks = {f"{tables.stores.cluster.hdfs}{path}" for path in tables.files()}
    assert named <= blocks
    assert all(
        pa.parquet.read_table(pa.BufferReader(content)) for path, content in tables.files().items() if "_draft" not in path
    )
