"""Cutouts of the embedded store: blocks with checksums."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import Any

import oracle
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import NEWEST, NIGHT, SAMPLES, TDE, alert_files
from archives import Opened
from astropy.io import fits

from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import CorruptData, TooLarge
from flight_server.protocol.query import Query

Store = Callable[..., Opened]
KINDS = ("Science", "Template", "Difference")


def ask(opened: Opened, **fields: Any) -> tuple[pa.Table, dict[str, Any]]:
    answer = opened.archive.answer(Query(table="ztf", **fields), Caller())
    messages = list(answer.messages)
    return pa.Table.from_batches([m.batch for m in messages], schema=answer.schema), messages[-1].metadata


def test_kinds_come_in_the_order_asked_after_the_columns(sample: Opened) -> None:
    table, record = ask(sample, ids=("ZTF20abfcszi",), columns=("i:candid",), cutouts=("Difference", "Science"))
    assert table.schema.names == ["i:candid", "b:cutoutDifference_stampData", "b:cutoutScience_stampData"]
    expected = oracle.stamps([TDE])
    for row in table.to_pylist():
        assert {row["b:cutoutScience_stampData"]} == expected[row["i:candid"], "Science"]
        assert {row["b:cutoutDifference_stampData"]} == expected[row["i:candid"], "Difference"]
    assert record["missing_cutouts"] == 0
    assert record["cutout_errors"] == {}
    assert record["cutout_bytes_read"] > 0


def test_fits_is_what_astropy_opens(sample: Opened) -> None:
    packed, _ = ask(sample, all=True, columns=("i:candid",), cutouts=KINDS)
    plain, record = ask(sample, all=True, columns=("i:candid",), cutouts=KINDS, cutout_format="fits")
    assert record["cutout_errors"] == {}
    for kind in KINDS:
        name = f"b:cutout{kind}_stampData"
        assert plain[name].to_pylist() == [gzip.decompress(stamp) for stamp in packed[name].to_pylist()]
    with fits.open(io.BytesIO(plain["b:cutoutScience_stampData"][0].as_py()), ignore_missing_simple=True) as opened:
        assert opened[0].data.shape == (63, 63)


def test_blocks_have_small_row_groups_a_page_index_and_checksums(sample: Opened) -> None:
    (block,) = (sample.settings.folder / "blocks").glob("*.parquet")
    metadata = pq.ParquetFile(block).metadata
    chunk = metadata.row_group(0).column(2)
    assert metadata.num_row_groups == -(-108 // 32)
    assert chunk.has_offset_index
    assert metadata.row_group(0).column(1).has_column_index
    # far less than the whole block is read for one alert
    assert ask(sample, ids=("ZTF17aaaaapa",), cutouts=("Science",))[1]["cutout_bytes_read"] < block.stat().st_size / 4


def test_a_flipped_byte_costs_the_stamps_of_its_page_and_each_is_named(open_store: Store) -> None:
    opened = open_store()
    opened.ingest(TDE)
    whole, _ = ask(opened, ids=("ZTF20abfcszi",), cutouts=KINDS)
    (block,) = (opened.settings.folder / "blocks").glob("*.parquet")
    content = bytearray(block.read_bytes())
    content[len(content) // 2] ^= 1
    block.write_bytes(content)
    table, record = ask(opened, ids=("ZTF20abfcszi",), cutouts=KINDS)
    failed = {(one["alert"], one["kind"]) for one in record["failed_cutouts"]}
    assert record["cutout_errors"] == {"block_damaged": len(failed)}
    assert 0 < len(failed) <= 21
    assert record["missing_cutouts"] == 0
    assert all(one["id"] == "ZTF20abfcszi" and one["reason"] == "block_damaged" for one in record["failed_cutouts"])
    for before, row in zip(whole.to_pylist(), table.to_pylist(), strict=True):
        for kind in KINDS:
            name = f"b:cutout{kind}_stampData"
            assert row[name] == (None if (row["i:candid"], kind) in failed else before[name])
    assert ask(opened, ids=("ZTF20abfcszi",))[1]["rows"] == 21, "what needs no stamps goes on"


def test_a_block_that_is_gone_costs_all_of_its_stamps(open_store: Store) -> None:
    opened = open_store()
    opened.ingest(TDE)
    (block,) = (opened.settings.folder / "blocks").glob("*.parquet")
    content = block.read_bytes()
    block.unlink()
    table, record = ask(opened, ids=("ZTF20abfcszi",), cutouts=("Science",))
    assert record["cutout_errors"] == {"block_missing": 21}
    assert [one["alert"] for one in record["failed_cutouts"]] == table["i:candid"].to_pylist()
    assert table["b:cutoutScience_stampData"].null_count == 21
    block.write_bytes(content)
    assert ask(opened, ids=("ZTF20abfcszi",), cutouts=("Science",))[1]["cutout_errors"] == {}, "it is back"


def test_stamps_that_cannot_be_compared_are_not_written_over(open_store: Store) -> None:
    opened = open_store()
    opened.ingest(TDE)
    (block,) = (opened.settings.folder / "blocks").glob("*.parquet")
    block.unlink()
    with pytest.raises(CorruptData, match="the Science cutout of alert"):
        opened.ingest(TDE)


def test_named_failures_that_one_message_cannot_hold_come_before_the_record(open_store: Store) -> None:
    opened = open_store()
    opened.ingest(SAMPLES)
    for block in (opened.settings.folder / "blocks").glob("*.parquet"):
        block.unlink()
    query = Query(table="ztf", all=True, columns=("i:candid",), cutouts=KINDS, max_message_bytes=8192)
    messages = [message.metadata for message in opened.archive.answer(query, Caller()).messages]
    lists = [message["failed_cutouts"] for message in messages if "failed_cutouts" in message]
    assert lists.pop() == []
    assert len(lists) > 1
    named = [(one["alert"], one["kind"]) for some in lists for one in some]
    assert len(named) == len(set(named)) == messages[-1]["cutout_errors"]["block_missing"] == 108 * 3


def test_stamps_arriving_again_are_not_written_again(open_store: Store) -> None:
    opened = open_store()
    opened.ingest(NIGHT)
    first = set((opened.settings.folder / "blocks").iterdir())
    opened.ingest(SAMPLES)
    second = set((opened.settings.folder / "blocks").iterdir())
    assert first < second
    (new,) = second - first
    assert pq.ParquetFile(new).metadata.num_rows == 108 - 67
    found, _ = ask(opened, all=True, columns=("i:candid",), cutouts=("Science",))
    expected = oracle.stamps(alert_files(SAMPLES))
    assert all({row["b:cutoutScience_stampData"]} == expected[row["i:candid"], "Science"] for row in found.to_pylist())


def test_more_stamps_than_an_answer_may_have(open_store: Store) -> None:
    from dataclasses import replace

    from flight_server.catalog.catalog import load_catalog
    from flight_server.execution.archive import Archive

    opened = open_store()
    opened.ingest(NEWEST)
    settings = replace(opened.settings, limits=replace(opened.settings.limits, cutouts=20))
    archive = Archive(load_catalog(), opened.store, opened.store.cutouts, settings)
    narrow = Query(table="ztf", all=True, cutouts=("Science", "Template"))
    assert list(archive.answer(narrow, Caller()).messages)[-1].metadata["complete"]
    with pytest.raises(TooLarge, match="at most 20 cutouts"):
        list(archive.answer(Query(table="ztf", all=True, cutouts=KINDS), Caller()).messages)


def test_limits_and_points_of_the_history_have_no_stamps(open_store: Store) -> None:
    opened = open_store()
    opened.ingest(NEWEST)
    table, record = ask(opened, all=True, columns=("i:objectId",), upper_limits=True, cutouts=("Science",))
    assert record["missing_cutouts"] == 0
    for row in table.to_pylist():
        assert (row["b:cutoutScience_stampData"] is not None) == (row["d:tag"] == "valid")
    assert set(table["d:tag"].to_pylist()) == {"valid", "upperlim", "badquality"}
