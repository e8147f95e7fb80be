"""Alerts with unexpected structure or text: refused by name or stored as a whole, never in part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import NEWEST, TDE
from archives import Opened
from changed_alerts import alerts_of, saved, with_candidates, with_fields

from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query

Store = Callable[..., Opened]


def rows(opened: Opened, **fields: Any) -> pa.Table:
    answer = opened.archive.answer(Query(table="ztf", all=True, **fields), Caller())
    return pa.Table.from_batches([message.batch for message in answer.messages], schema=answer.schema)


def written(source: Path, target: Path, **columns: pa.Array | None) -> Path:
    """Write a file's alerts with columns replaced, added or (None) dropped."""
    return saved(with_fields(alerts_of(source), **columns), target)


NOT_TEXT = pa.array([b"\xff"] * 9).view(pa.string())


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("cutoutScience", pa.array([b"stamp"] * 9)),
        ("cutoutScience", pa.array([{"data": b"stamp"}] * 9)),
        ("prv_candidates", pa.array(["none"] * 9)),
        ("mangrove", pa.array(["none"] * 9)),
        ("lc_features_g", pa.array(["[1.0]"] * 9)),
        ("candidate", pa.array(["none"] * 9)),
        ("cdsxmatch", NOT_TEXT),
        ("objectId", NOT_TEXT),
        ("objectId", pa.array([["a"]] * 9)),
    ],
)
def test_a_column_of_the_wrong_shape_refuses_its_file_by_name(
    open_store: Store, tmp_path: Path, column: str, values: pa.Array
) -> None:
    bad = written(NEWEST, tmp_path / "bad.parquet", **{column: values})
    opened = open_store()
    report = opened.ingest(bad, TDE)
    assert list(report.failures) == [bad]
    assert column in report.failures[bad]
    assert len(rows(opened, cutouts=("Science",))) == 21


def test_a_column_that_stands_twice_refuses_its_file(open_store: Store, tmp_path: Path) -> None:
    table = pq.ParquetFile(NEWEST).read()
    pq.write_table(table.append_column("cdsxmatch", table["cdsxmatch"]), tmp_path / "twice.parquet")
    report = open_store().ingest(tmp_path / "twice.parquet", TDE)
    assert "cdsxmatch occurs twice" in report.failures[tmp_path / "twice.parquet"]
    assert report.alerts == 21


@pytest.mark.both_stores
def test_columns_of_only_nulls_bring_no_values_and_lose_none(open_store: Store, tmp_path: Path) -> None:
    nulls = dict.fromkeys(("cutoutScience", "prv_candidates", "mangrove", "lc_features_g", "tracklet"), pa.nulls(9))
    opened = open_store()
    assert not opened.ingest(written(NEWEST, tmp_path / "nulls.parquet", **nulls)).failures
    found = rows(opened, cutouts=("Science", "Template"))
    assert found["b:cutoutScience_stampData"].null_count == 9
    assert found["b:cutoutTemplate_stampData"].null_count == 0


def test_a_refused_file_has_no_say_in_the_type_of_a_new_column(open_store: Store, tmp_path: Path) -> None:
    good = written(NEWEST, tmp_path / "good.parquet", fresh=pa.array([1] * 9, pa.int32()))
    bad = written(TDE, tmp_path / "bad.parquet", fresh=pa.array(["x"] * 21), objectId=pa.array(["A_B"] * 21))
    for number, order in enumerate(((good, bad), (bad, good))):
        opened = open_store(f"store{number}")
        report = opened.ingest(*order)
        assert list(report.failures) == [bad]
        assert rows(opened).schema.field("d:fresh").type == pa.int32()


def test_what_only_the_server_may_add_is_not_taken_from_a_file(open_store: Store, tmp_path: Path) -> None:
    file = written(NEWEST, tmp_path / "a.parquet", tag=pa.array(["mine"] * 9), hdfs_path=pa.array(["/"] * 9))
    opened = open_store()
    report = opened.ingest(file)
    assert {"tag", "hdfs_path"} <= report.not_stored
    names = rows(opened, upper_limits=True).schema.names
    assert names.count("d:tag") == 1
    assert "d:hdfs_path" not in names


@pytest.mark.both_stores
def test_stamps_stay_with_an_alert_that_comes_again_under_another_number(open_store: Store, tmp_path: Path) -> None:
    alerts = alerts_of(NEWEST)
    renumbered = with_candidates(alerts, candid=pa.compute.add(alerts["candid"].combine_chunks(), 1))
    opened = open_store()
    for file in (NEWEST, saved(renumbered, tmp_path / "b.parquet"), NEWEST):
        opened.ingest(file)
        assert rows(opened, cutouts=("Science",))["b:cutoutScience_stampData"].null_count == 0


@pytest.mark.both_stores
def test_the_later_version_wins_whatever_came_first(open_store: Store, tmp_path: Path) -> None:
    def version(name: str, number: str, label: str) -> Path:
        values = {"fink_broker_version": pa.array([number] * 9), "cdsxmatch": pa.array([label] * 9)}
        return written(NEWEST, tmp_path / name, **values)

    files = [version("a.parquet", "4.9", "older"), version("b.parquet", "4.10", "newer"), version("c.parquet", "3.99", "oldest")]
    for number in range(3):
        opened = open_store(f"order{number}")
        opened.ingest(*files[number:], *files[:number])
        assert set(rows(opened)["d:cdsxmatch"].to_pylist()) == {"newer"}
