"""Answers with many cutouts are streamed; nothing is kept or read twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import Opened, ask
from block_answers import KINDS
from waiting import wait_until

from flight_server.catalog.catalog import load_catalog
from flight_server.execution.archive import Archive
from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import StreamCancelled
from flight_server.protocol.query import Query
from flight_server.simulate import simulate
from flight_server.storage.blocks import BlockCutouts, LocalFiles
from flight_server.storage.blocks.files import BlockFile

OBJECTS = {f"ZTF21flow{number:03d}": 12 for number in range(50)}


class Watched(LocalFiles):
    """Local blocks that record opened files, and wait for `go_on` to be set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.opened: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def open(self, path: str) -> BlockFile:
        self.opened.append(path)
        assert self.go_on.wait(120)
        return super().open(path)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Alert files with cutouts, each of other objects."""
    folders = []
    for number in range(4):
        folder = tmp_path_factory.mktemp(f"night{number}")
        named = {name: count for place, (name, count) in enumerate(OBJECTS.items()) if place % 4 == number}
        simulate(folder, objects=0, nights=1, seed=number, named=named, stamps=True)
        folders.append(folder)
    return folders


@pytest.fixture
def several_blocks(open_store: Callable[..., Opened], nights: list[Path]) -> Opened:
    """A store with a block for each night."""
    opened = open_store()
    for night in nights:
        assert not opened.ingest(night).failures
    return opened


def test_the_first_batch_leaves_before_the_last_block_is_opened(several_blocks: Opened) -> None:
    files = Watched(several_blocks.settings.folder)
    archive = Archive(load_catalog(), several_blocks.store, BlockCutouts(files), several_blocks.settings)
    ids = tuple(sorted(OBJECTS, key=lambda name: (list(OBJECTS).index(name) % 4, name)))
    answer = archive.answer(Query(table="ztf", ids=ids, columns=("i:candid",), cutouts=("Science",)), Caller())
    first = next(message for message in answer.messages if len(message.batch))
    assert len(first.batch) > 0
    assert len(set(files.opened)) < 4
    rest = list(answer.messages)
    assert len(set(files.opened)) == 4
    assert rest[-1].metadata["rows"] == sum(OBJECTS.values())


def test_a_caller_who_goes_away_while_cutouts_are_awaited_ends_it(several_blocks: Opened) -> None:
    files = Watched(several_blocks.settings.folder)
    files.go_on.clear()
    archive = Archive(load_catalog(), several_blocks.store, BlockCutouts(files), several_blocks.settings)
    gone = threading.Event()
    answer = archive.answer(Query(table="ztf", all=True, cutouts=("Science",)), Caller(cancelled=gone.is_set))
    try:
        with ThreadPoolExecutor() as threads:
            reading = threads.submit(list, answer.messages)
            wait_until(lambda: files.opened, "the block is asked for")
            gone.set()
            with pytest.raises(StreamCancelled):
                reading.result(60)
    finally:
        files.go_on.set()


@pytest.mark.both_stores
def test_stamps_without_any_other_column(several_blocks: Opened, serve: Callable[..., fl.FlightClient]) -> None:
    client = serve(several_blocks)
    whole = ask(client, table="ztf", ids=list(OBJECTS)[:3], cutouts=list(KINDS))
    alone = ask(client, table="ztf", ids=list(OBJECTS)[:3], columns=[], cutouts=list(KINDS))
    assert alone.table.schema.names == [f"b:cutout{kind}_stampData" for kind in KINDS]
    assert alone.table.equals(whole.table.select(alone.table.schema.names))
    assert alone.record["rows"] == 36


def test_no_page_is_read_twice_in_a_row_of_objects(several_blocks: Opened) -> None:
    """Rows of one block come together; the window grows so fast that what it reads twice stays little."""
    size = sum(block.stat().st_size for block in (several_blocks.settings.folder / "blocks").iterdir())
    ids = tuple(sorted(OBJECTS, key=lambda name: (list(OBJECTS).index(name) % 4, name)))
    query = Query(table="ztf", ids=ids, columns=("i:candid",), cutouts=KINDS)
    record = list(several_blocks.archive.answer(query, Caller()).messages)[-1].metadata
    assert record["missing_cutouts"] == 0
    assert record["cutout_bytes_read"] < 2 * size


def test_windows_neither_lose_nor_repeat_rows(several_blocks: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    from flight_server.execution import cutout_columns

    query = Query(table="ztf", all=True, columns=("i:candid",), cutouts=("Science", "Template"), digest=True)
    digests = set()
    for first, most, size in ((32, 4096, 1 << 25), (1, 7, 1 << 25), (1000, 1000, 1), (3, 4096, 200_000)):
        monkeypatch.setattr(cutout_columns, "FIRST_ROWS", first)
        monkeypatch.setattr(cutout_columns, "MOST_ROWS", most)
        monkeypatch.setattr(cutout_columns, "MOST_BYTES", size)
        record = list(several_blocks.archive.answer(query, Caller()).messages)[-1].metadata
        assert record["rows"] == sum(OBJECTS.values())
        digests.add(record["digest"])
    assert len(digests) == 1


def test_rows_whose_stamps_fail_come_with_nulls_in_their_place(several_blocks: Opened) -> None:
    query = Query(table="ztf", all=True, columns=("i:objectId", "i:jd"), cutouts=("Science",))
    whole = several_blocks.archive.answer(query, Caller())
    expected = pa.Table.from_batches([message.batch for message in whole.messages], schema=whole.schema)
    (gone, *_) = sorted((several_blocks.settings.folder / "blocks").iterdir())
    gone.rename(gone.with_suffix(".away"))
    answer = several_blocks.archive.answer(query, Caller())
    messages = list(answer.messages)
    found = pa.Table.from_batches([message.batch for message in messages], schema=answer.schema)
    failed = {one["id"] for one in messages[-1].metadata["failed_cutouts"]}
    assert len(messages[-1].metadata["failed_cutouts"]) == 12 * len(failed)
    assert 0 < len(failed) < len(OBJECTS)
    assert found.select([0, 1]).equals(expected.select([0, 1]))
    rows = expected.to_pylist()
    stamps = [None if row["i:objectId"] in failed else row["b:cutoutScience_stampData"] for row in rows]
    assert found[2].to_pylist() == stamps
