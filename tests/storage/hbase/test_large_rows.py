"""Rows with large cells: batches are cut by bytes for every kind of scan."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pytest
from archives import Opened
from hbase_stores import HBaseStores

from flight_server.catalog.catalog import load_catalog
from flight_server.storage.scans import Rows, Scan, Span

ROWS = 300
TEXT = 60_000  # so that 256 rows, as many as are fetched together, are more than a frame may have


@pytest.fixture(scope="module")
def opened(hbase_stores: HBaseStores) -> Iterator[Opened]:
    prefix = hbase_stores.prefix_with_tables()
    table = f"{prefix}ztf"
    hbase_stores.admin.put_schema(table, "schema_1.0_1.0", {"i:objectId": "string", "i:jd": "double", "d:text": "string"})
    for first in range(0, ROWS, 50):
        rows = {}
        for number in range(first, first + 50):
            name, text = f"ZTF{number:03d}", f"{number:03d}".encode() * (TEXT // 3)
            rows[f"{name}_{number}.5".encode()] = {
                "i:objectId": name.encode(),
                "i:jd": struct.pack(">d", number + 0.5),
                "d:text": text,
            }
        hbase_stores.admin.put_rows(table, rows)
    yield hbase_stores.open(prefix)
    hbase_stores.give_back([prefix])


@pytest.mark.parametrize("how", ["keys", "ids", "all", "reverse"])
def test_rows_of_many_bytes_come_in_several_batches(opened: Opened, how: str) -> None:
    view = opened.store.view()
    catalog = load_catalog().with_stored(view.columns)
    table = catalog.table("ztf")
    columns = catalog.columns(table, ["i:objectId", "d:text"])
    order = {"all": np.arange(ROWS), "reverse": np.arange(ROWS)[::-1]}.get(how, np.random.default_rng(5).permutation(ROWS))
    wanted = {
        "keys": {"keys": np.array([f"ZTF{number:03d}_{number}.5".encode() for number in order])},
        "ids": {"ids": [f"ZTF{number:03d}" for number in order]},
        "all": {},
        "reverse": {"spans": [Span()], "reverse": True},
    }
    parts: list[Rows] = list(view.scan(Scan(table=table, columns=columns, **wanted[how])))
    assert max(part.batch.nbytes for part in parts) < 2_000_000
    names = [name for part in parts for name in part.batch["i:objectId"].to_pylist()]
    assert names == [f"ZTF{number:03d}" for number in order]
    for part in parts:
        for name, text in zip(part.batch["i:objectId"].to_pylist(), part.batch["d:text"].to_pylist(), strict=True):
            assert text == name[3:] * (TEXT // 3)
    if how in ("keys", "ids"):
        assert [int(place) for part in parts for place in part.request_index] == list(range(ROWS))
