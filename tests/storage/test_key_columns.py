"""Columns that are read out of row keys, on both stores: the same values as the alerts, whatever is in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from alert_data import SAMPLES, TDE
from archives import Opened, messages
from changed_alerts import alerts_of, saved, with_candidates, with_fields

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.columns import Projection
from flight_server.ingest import count_nights, load
from flight_server.protocol.errors import BadValue
from flight_server.protocol.query import Query
from flight_server.storage.key_columns import with_key_columns
from flight_server.storage.scans import Rows, Scan

CATALOG = load_catalog()
ODD = ["SN_1", "SN", "S_N_2459000.5_x", "1_2459000.5", "é_中"]


def parts(table: str, column: str, keys: list[bytes]) -> list[str | None]:
    """Return a column of rows that have these keys and no cells."""
    found = CATALOG.table(table)
    scan = Scan(table=found, columns=Projection([CATALOG.described(found)[column]]))
    rows = Rows(pa.RecordBatch.from_arrays([], names=[]), np.zeros(len(keys), np.int64), np.array(keys))
    (filled,) = with_key_columns(scan, lambda _: iter([rows]))
    values: list[str | None] = filled.batch[column].to_pylist()
    return values


@pytest.mark.parametrize("name", ODD)
def test_the_first_part_may_contain_separators(name: str) -> None:
    keys = [f"{name}_2459092.8803819_ZTF20abfcszi", f"{name}_2459092.8803819_ZTF20abfcszi_1315443762415015012"]
    assert parts("ztf.class", "d:classification", [key.encode() for key in keys]) == [name, name]
    assert parts("ztf.tns", "d:tns", [key.encode() for key in keys]) == [name, name]
    assert parts("ztf.tracklet", "d:tracklet", [f"TRCK_{name}_ZTF20abfcszi".encode()]) == [f"TRCK_{name}"]


def test_keys_of_another_form_have_no_such_column() -> None:
    keys = [b"SN", b"SN_ZTF20abfcszi", b"SN_2459000_ZTF20abfcszi", b"\xff_2459000.5_ZTF20abfcszi"]
    assert parts("ztf.class", "d:classification", keys) == [None] * 4
    assert parts("statistics_class", "basic:night", [b"20200831", b"ztf_20200831"]) == [None, "20200831"]
    assert parts("ztf.metadata", "i:objectId", [b"ZTF20abfcszi"]) == ["ZTF20abfcszi"]


@pytest.mark.both_stores
def test_a_class_is_that_of_the_alert_and_no_cell(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    alerts = alerts_of(TDE).slice(0, 6)
    times = pa.array([2459092.5 + number for number in range(6)])
    candids = pa.array(range(1, 7), pa.int64())
    alerts = with_fields(with_candidates(alerts, jd=times, candid=candids), candid=candids)
    kinds = pa.array(["SN_1", "SN", "SN_1", None, "SN_", "SN"])
    alerts = with_fields(alerts, tns=kinds)
    opened = open_store()
    assert not opened.ingest(saved(alerts, tmp_path / "odd.parquet")).failures
    for name, expected in (("SN_1", 2), ("SN", 2), ("SN_", 1)):
        found = messages(opened, Query(table="ztf.tns", class_=name, columns=("d:tns", "i:candid"))).table
        assert found["d:tns"].to_pylist() == [name] * expected
    whole = messages(opened, Query(table="ztf.tns", all=True, columns=("i:candid", "d:tns"))).table.sort_by("i:candid")
    assert whole["d:tns"].to_pylist() == ["SN_1", "SN", "SN_1", "SN_", "SN"]
    classes = messages(opened, Query(table="ztf.class", all=True)).table
    assert "d:classification" in classes.schema.names
    assert classes["d:classification"].null_count == 0
    only = messages(opened, Query(table="ztf.class", all=True, columns=("d:classification",))).table
    assert only["d:classification"].to_pylist() == classes["d:classification"].to_pylist()
    assert "d:classification" not in opened.store.view().columns["ztf.class"]


@pytest.mark.both_stores
def test_nights_and_objects_that_are_in_the_key_alone(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    opened = open_store()
    assert not opened.ingest(SAMPLES).failures
    count_nights(opened.store, CATALOG)
    nights = messages(opened, Query(table="statistics_class", night="2020")).table
    assert len(nights) > 5
    assert all(night.startswith("2020") for night in nights["basic:night"].to_pylist())
    count_nights(opened.store, CATALOG)  # again, over its own rows
    assert messages(opened, Query(table="statistics_class", night="2020")).table == nights
    notes = tmp_path / "notes.json"
    notes.write_text(json.dumps([{"objectId": "ZTF20abfcszi", "internal_name": "tde", "username": "me"}]))
    load(opened.store, CATALOG, "ztf.metadata", [notes])
    found = messages(opened, Query(table="ztf.metadata", ids=("ZTF20abfcszi", "nobody"))).table.to_pylist()
    assert [(row["i:objectId"], row["d:internal_name"]) for row in found] == [("ZTF20abfcszi", "tde")]
    assert messages(opened, Query(table="ztf.metadata", all=True, columns=("i:objectId",))).table.to_pylist() == [
        {"i:objectId": "ZTF20abfcszi"}
    ]
    notes.write_text(json.dumps([{"objectId": "ZTF1", "internal_name": "x"}, {"objectId": "ZTF2", "internal_name": None}]))
    with pytest.raises(BadValue, match="row 1 has no value"):
        load(opened.store, CATALOG, "ztf.metadata", [notes])
