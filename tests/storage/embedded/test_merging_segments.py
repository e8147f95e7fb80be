"""One table in many segments answers as if it were one."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import NIGHT, SAMPLES, TDE
from archives import Opened, digest

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.columns import Projection
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query
from flight_server.storage.embedded import EmbeddedStore
from flight_server.storage.scans import Scan

Store = Callable[..., Opened]


def rows(opened: Opened, **fields: Any) -> pa.Table:
    answer = opened.archive.answer(Query(table="ztf", **fields), Caller())
    return pa.Table.from_batches([message.batch for message in answer.messages], schema=answer.schema)


def split(source: Path, folder: Path, parts: int) -> list[Path]:
    """Write a file's alerts to several files, in a random but fixed order."""
    table = pq.ParquetFile(source).read()
    order = random.Random(1).sample(range(len(table)), len(table))
    files = []
    for part in range(parts):
        files.append(folder / f"part{part}.parquet")
        pq.write_table(table.take(order[part::parts]), files[-1])
    return files


@pytest.fixture(scope="module")
def pair(make_store: Callable[[], Opened], tmp_path_factory: pytest.TempPathFactory) -> tuple[Opened, Opened]:
    """The same alerts in one segment, and in nine that overlap."""
    whole, many = make_store(), make_store()
    whole.ingest(NIGHT, TDE)
    for file in [*split(NIGHT, tmp_path_factory.mktemp("parts"), 8), TDE]:
        many.ingest(file)
    return whole, many


def test_the_whole_table(pair: tuple[Opened, Opened]) -> None:
    whole, many = pair
    assert digest(rows(many, all=True)) == digest(rows(whole, all=True))


def test_objects_in_the_order_asked(pair: tuple[Opened, Opened]) -> None:
    whole, many = pair
    ids = list(dict.fromkeys(rows(whole, all=True)["i:objectId"].to_pylist()))
    shuffled = tuple(random.Random(2).sample(ids, len(ids)))
    asked = (*shuffled[:30], "ZTF20abf", "ZTF", "nobody", *shuffled[30:])
    found = rows(many, ids=asked)
    assert digest(found) == digest(rows(whole, ids=asked))
    assert list(dict.fromkeys(found["i:objectId"].to_pylist())) == list(shuffled)
    for name in ("ZTF20abfcszi",):
        times = [row["i:jd"] for row in found.to_pylist() if row["i:objectId"] == name]
        assert times == sorted(times)
        assert len(times) == 21


def test_an_id_is_no_prefix_and_no_pattern(pair: tuple[Opened, Opened]) -> None:
    for opened in pair:
        for name in (
            "ZTF20abfcsz",
            "ZTF20abfcszi_",
            "ZTF20abfcszi_2459063.9292593",
            "ztf20abfcszi",
            " ZTF20abfcszi",
            "%",
            "ZTF20abfcszi\0",
        ):
            assert len(rows(opened, ids=(name,))) == 0


def test_updated_rows_come_once_with_their_newest_cells(open_store: Store, tmp_path: Path) -> None:
    opened = open_store()
    table = pq.ParquetFile(TDE).read()
    place = table.column_names.index("cdsxmatch")
    for number in range(5):
        file = tmp_path / f"{number}.parquet"
        values = [f"class{number}" if row % 5 >= number else None for row in range(21)]
        pq.write_table(table.set_column(place, "cdsxmatch", pa.array(values, pa.string())), file)
        opened.ingest(file)
    found = rows(opened, ids=("ZTF20abfcszi",))
    order = np.argsort(table["candidate"].combine_chunks().field("jd").to_numpy())
    assert found["d:cdsxmatch"].to_pylist() == [f"class{row % 5}" for row in order]
    assert opened.archive.states()["ztf"].rows == 21


def test_a_view_stays_as_it_was_while_ingests_go_on(open_store: Store, tmp_path: Path) -> None:
    opened = open_store()
    opened.ingest(TDE)
    view = opened.store.view()
    columns = Projection(opened.archive.catalog().stored_columns(load_catalog().table("ztf")).values())
    scan = Scan(table=load_catalog().table("ztf"), columns=columns)
    started = view.scan(scan)
    first = next(started)
    opened.ingest(NIGHT)
    assert len(first.batch) + sum(len(some.batch) for some in started) == 21
    assert sum(len(some.batch) for some in view.scan(scan)) == 21
    assert sum(len(some.batch) for some in opened.store.view().scan(scan)) == 88


def _ingest(folder: str, path: Path, go: Any) -> None:
    from flight_server.ingest import ingest

    store = EmbeddedStore(Path(folder))
    go.wait()
    ingest(store, load_catalog(), [path])


@pytest.mark.deep
def test_a_commit_of_another_process_shows_without_a_restart(open_store: Store) -> None:
    opened = open_store()
    opened.ingest(TDE)
    context = multiprocessing.get_context("spawn")
    go = context.Event()
    other = context.Process(target=_ingest, args=(str(opened.settings.folder), NIGHT, go))
    other.start()
    seen = {len(rows(opened, all=True))}
    go.set()
    while other.is_alive():
        seen.add(len(rows(opened, all=True)))
    other.join()
    assert other.exitcode == 0
    time.sleep(1)  # the promise: within a second of the commit
    seen.add(len(rows(opened, all=True)))
    assert seen == {21, 88}, "the old state or the new one, nothing between"


def test_two_ingests_at_once_wait_for_each_other(open_store: Store, tmp_path: Path) -> None:
    parts = split(NIGHT, tmp_path, 4)
    opened = open_store()
    failures: list[BaseException] = []

    def run(path: Path) -> None:
        try:
            store = EmbeddedStore(opened.settings.folder)
            from flight_server.ingest import ingest

            ingest(store, load_catalog(), [path])
            store.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(rows(open_store(), all=True)) == 67


def test_the_write_time_of_each_row_is_kept(open_store: Store) -> None:
    opened = open_store()
    before = time.time_ns() // 1_000_000
    opened.ingest(TDE)
    opened.ingest(SAMPLES)
    view = opened.store.view()
    written = [segment.batch(0)["_written"].unique().to_pylist() for segment in view._segments["ztf"]]
    assert all(len(times) == 1 for times in written)
    assert before <= written[0][0] < written[1][0]
    assert [segment.record.rows for segment in view._segments["ztf"]] == [21, 87], "equal rows are not written again"
