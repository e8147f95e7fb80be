"""Blocks in every layout of Parquet writers, against pyarrow's reads of the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from block_answers import KINDS, ZTF, Block, load, reader, some_rows
from spark_files import RUBIN_FILES, Writing, rubin_alerts, write_blocks, ztf_alerts
from spark_files import Block as SparkBlock

from flight_server.storage.blocks.output import write_block

ROWS = 250
SPARK_WAYS = {
    "spark": Writing(),
    "zstd": Writing(codec="zstd"),
    "gzip": Writing(codec="gzip"),
    "uncompressed": Writing(codec="uncompressed"),
    "v2": Writing(version="v2"),
    "v2-zstd": Writing(version="v2", codec="zstd"),
    "plain": Writing(dictionary=False),
    "groups": Writing(row_group_bytes=2 << 20),
    "small-pages": Writing(page_bytes=64 << 10),
    "no-checksums": Writing(checksums=False),
}
ARROW_WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "index": {"write_page_index": True},
    "plain": {"use_dictionary": False},
    "dictionary-v2": {"data_page_version": "2.0", "write_page_index": True},
    "groups": {"row_group_size": 40, "compression": "zstd"},
    "lz4": {"compression": "lz4", "use_dictionary": False, "write_page_index": True},
    "small-pages": {"data_page_size": 4096, "write_batch_size": 4, "use_dictionary": False},
    "small-pages-index": {"data_page_size": 4096, "write_batch_size": 4, "use_dictionary": False, "write_page_index": True},
    "brotli-checksums": {"compression": "brotli", "write_page_checksum": True},
    "large-header": {"write_statistics": True, "use_dictionary": False, "data_page_size": 1 << 16, "write_batch_size": 8},
}


def check(block: Block, rows: int) -> None:
    cutouts = reader(block.path)
    block.check(cutouts, [rows // 2], ["Template"])
    block.check(cutouts, some_rows(7, rows, seed=1))
    block.check(cutouts, some_rows(rows, rows, seed=2), ["Difference", "Science"])
    block.check(reader(block.path), list(range(rows)))


@pytest.fixture(scope="module")
def alerts() -> pa.Table:
    return ztf_alerts(ROWS, 60)


@pytest.fixture(scope="module")
def spark(alerts: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spark")
    write_blocks([SparkBlock(folder / f"{name}.parquet", alerts, writing) for name, writing in SPARK_WAYS.items()])
    return folder


@pytest.mark.java
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", SPARK_WAYS)
def test_blocks_of_sparks_writer(spark: Path, way: str) -> None:
    check(load(spark / f"{way}.parquet"), ROWS)


@pytest.mark.java
@pytest.mark.timeout(1800)
def test_a_stamp_costs_its_page_and_no_more(spark: Path) -> None:
    block = load(spark / "spark.parquet")
    metadata = pq.read_metadata(block.path)
    (chunk,) = [
        c
        for i in range(metadata.num_columns)
        if (c := metadata.row_group(0).column(i)).path_in_schema == "cutoutScience.stampData"
    ]
    cutouts = reader(block.path)
    block.check(cutouts, [120], ["Science"])
    warm = block.check(cutouts, [120], ["Science"]).bytes_read
    assert warm <= chunk.total_compressed_size / 2, "pages have 100 rows"
    every = block.check(cutouts, list(range(ROWS)), ["Science"]).bytes_read
    assert every <= chunk.total_compressed_size, "each page is read once"


@pytest.mark.java
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not RUBIN_FILES, reason="no real Rubin alerts are at hand")
def test_rubin_blocks_of_sparks_writer(tmp_path: Path) -> None:
    rows = rubin_alerts(RUBIN_FILES, 150, 40)
    names = ("spark", "groups", "v2")
    write_blocks([SparkBlock(tmp_path / f"{name}.parquet", rows, SPARK_WAYS[name]) for name in names])
    for name in names:
        block = load(tmp_path / f"{name}.parquet")
        assert block.layout.alert_id == "diaSource.diaSourceId"
        check(block, 150)


@pytest.mark.deep(after=4)
@pytest.mark.parametrize("way", ARROW_WAYS)
def test_blocks_of_pyarrow(alerts: pa.Table, tmp_path: Path, way: str) -> None:
    pq.write_table(alerts, tmp_path / "block.parquet", **ARROW_WAYS[way])
    check(load(tmp_path / "block.parquet"), ROWS)


@pytest.mark.parametrize("way", [{}, {"write_page_index": True}, {"data_page_version": "2.0"}, {"use_dictionary": False}])
def test_nulls(alerts: pa.Table, tmp_path: Path, way: dict[str, Any]) -> None:
    def thinned(kind: str, step: int) -> pa.Array:
        cells = alerts[f"cutout{kind}"].combine_chunks()
        held = pa.array([row % step for row in range(len(cells))], pa.int64())
        stamps = pa.compute.if_else(pa.compute.equal(held, 1), None, cells.field("stampData"))
        fields = [stamps if field.name == "stampData" else cells.field(field.name) for field in cells.type]
        return pa.StructArray.from_arrays(fields, fields=list(cells.type), mask=pa.compute.equal(held, 0))

    rows = alerts
    for kind, step in zip(KINDS, (2, 3, 7), strict=True):
        place = rows.schema.get_field_index(f"cutout{kind}")
        rows = rows.set_column(place, pa.field(f"cutout{kind}", rows.schema.field(place).type), thinned(kind, step))
    pq.write_table(rows, tmp_path / "block.parquet", data_page_size=65_536, write_batch_size=8, **way)
    block = load(tmp_path / "block.parquet")
    assert block.stamps["Science"].null_count == ROWS
    assert 0 < block.stamps["Difference"].null_count < ROWS
    check(block, ROWS)


def test_blocks_that_ingest_writes(alerts: pa.Table, tmp_path: Path) -> None:
    for name, compression in (("a", "none"), ("b", "snappy")):
        write_block(tmp_path / f"{name}.parquet", alerts, ZTF, compression)
        check(load(tmp_path / f"{name}.parquet"), ROWS)


def test_one_alert_twice_in_a_block_gives_its_first_row(alerts: pa.Table, tmp_path: Path) -> None:
    doubled = pa.concat_tables([alerts.slice(0, 20), alerts.slice(10, 20)])
    pq.write_table(doubled, tmp_path / "block.parquet")
    block = load(tmp_path / "block.parquet")
    stamps = block.read(reader(block.path), [25], ["Science"])
    assert stamps.kinds["Science"][0] == block.stamps["Science"][15]


def test_a_kind_that_a_block_does_not_keep_is_null(alerts: pa.Table, tmp_path: Path) -> None:
    pq.write_table(alerts, tmp_path / "whole.parquet")
    pq.write_table(alerts.drop_columns(["cutoutTemplate"]), tmp_path / "block.parquet")
    block = load(tmp_path / "whole.parquet")
    stamps = block.read(reader(block.path), [3], path=str(tmp_path / "block.parquet"))
    assert stamps.kinds["Template"].null_count == 1
    assert stamps.kinds["Science"][0] == block.stamps["Science"][3]
    assert stamps.failures == ()


def test_a_block_written_anew_is_read_anew(alerts: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "block.parquet"
    pq.write_table(alerts.slice(0, 100), path)
    cutouts = reader(path)
    load(path).check(cutouts, [5])
    pq.write_table(alerts.slice(50, 120), path)
    block = load(path)
    block.check(cutouts, some_rows(50, 120))
