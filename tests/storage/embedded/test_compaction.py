"""Compaction changes the files of a store, but no answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from alert_data import MANY_AVRO, NEWEST, NIGHT, TDE
from archives import Opened, ask
from hypothesis import given
from hypothesis import strategies as st
from processes import COMMAND, serving
from store_faults import (
    EMBEDDED,
    Runner,
    checked_contents,
    contents,
    damage,
    everything,
    files,
    fill,
    open_archive,
    rename,
    write_changed,
)

from flight_server.protocol.callers import Caller
from flight_server.protocol.query import CUTOUT_KINDS, Query
from flight_server.simulate import simulate
from flight_server.storage.embedded import EmbeddedStore, compaction
from flight_server.storage.embedded.compaction import ALIKE, FEWEST, choose
from flight_server.storage.embedded.manifest import Manifest, ManifestState
from flight_server.storage.embedded.segment_output import SEGMENT_BYTES
from flight_server.storage.embedded.segments import DIRECTORY

LARGE = SEGMENT_BYTES // 2
SIZES = st.lists(st.one_of(st.integers(1, 3000), st.integers(1, 4 * LARGE), st.sampled_from([LARGE - 1, LARGE])), max_size=30)
ROUNDS = 4


def state(folder: Path) -> ManifestState:
    manifest = Manifest(folder / "manifest.sqlite")
    try:
        return manifest.read()
    finally:
        manifest.close()


def segments(folder: Path, table: str = "ztf") -> list[int]:
    return [record.rows for record in state(folder).segments if record.table_name == table]


def compact(folder: Path, *, full: bool) -> Any:
    store = EmbeddedStore(folder)
    try:
        return store.compact(full=full)
    finally:
        store.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven ingests; the 21 alerts of one object came three times, each time changed, once with other cutouts."""
    folder = tmp_path_factory.mktemp("filled")
    first, second = write_changed(folder / "1", "AGN", swap=True), write_changed(folder / "2", "QSO", swap=False)
    return fill(folder / "many", TDE, MANY_AVRO, first, NEWEST, NIGHT, MANY_AVRO, second)


@pytest.fixture
def many(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "many"))


@pytest.mark.parametrize("full", [True, False])
def test_no_digest_and_no_count_changes(many: Path, full: bool) -> None:
    before = contents(many)
    assert before["ztf"][0] == 21 + 11 + 9 + 67
    compact(many, full=full)
    assert contents(many) == before
    assert damage(many) == []


def test_superseded_rows_go_and_their_space_is_given_back(many: Path) -> None:
    held, rows = files(many), segments(many)
    assert sum(rows) == 108 + 2 * 21
    report = compact(many, full=True)
    assert segments(many) == [108]
    assert report.segments["ztf"] == (len(rows), 1)
    assert sum(files(many).values()) < sum(held.values())
    assert report.bytes_after < report.bytes_before
    # a table with one segment keeps it
    merged = {table for table, (before, after) in report.segments.items() if before > after}
    assert {"ztf", "ztf.cutouts", "ztf.pixel128", "ztf.class"} <= merged
    gone = {name for name in held if name.suffix in {".arrow", ".keys"} and name.parent.name in merged}
    assert not gone & set(files(many)), "the old segments are gone"


def test_a_second_compaction_changes_nothing(many: Path) -> None:
    compact(many, full=True)
    held = files(many)
    for full in (True, False):
        report = compact(many, full=full)
        assert all(before == after for before, after in report.segments.values())
        assert report.blocks_removed == 0
    assert files(many) == held


def test_a_row_count_stays_right_whatever_neighbours_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = [write_changed(tmp_path / f"{n}", f"class{n}", swap=False) for n in range(6)]
    filled = fill(tmp_path / "store", *classes)
    before = contents(filled)
    newest = write_changed(tmp_path / "newest", "newest", swap=False)
    for first in range(5):
        for last in range(first + 2, 7, 2):
            folder = Path(shutil.copytree(filled, tmp_path / f"store{first}{last}"))
            with monkeypatch.context() as patched:
                patched.setattr(f"{EMBEDDED}.compaction.choose", one_part(6, slice(first, last)))
                compact(folder, full=False)
            assert len(segments(folder)) == 6 - (last - first) + 1
            assert contents(folder) == before
            fill(folder, newest)
            compact(folder, full=True)
            assert segments(folder) == [21]
            assert contents(folder)["ztf"][0] == 21


def one_part(count: int, part: slice) -> Callable[..., slice | None]:
    return lambda sizes, **_: part if len(sizes) == count else None


def test_blocks_go_only_when_no_row_names_them(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {record.name for record in state(many).blocks}
    assert len(held) == 5
    assert compact(many, full=True).blocks_unused == 1, "the block of the stamps that were exchanged"
    assert compact(many, full=True).blocks_removed == 0, "answers under way may need it"
    assert {f"blocks/{file.name}" for file in (many / "blocks").iterdir()} == held
    monkeypatch.setattr(compaction, "KEPT_MS", 0)
    report = compact(many, full=True)
    assert report.blocks_removed == 1
    left = {record.name for record in state(many).blocks}
    assert left < held
    assert {f"blocks/{file.name}" for file in (many / "blocks").iterdir()} == left
    archive, store = open_archive(many)
    rows, _ = everything(archive, "ztf")
    stamps = list(archive.answer(Query(table="ztf", all=True, cutouts=CUTOUT_KINDS), Caller()).messages)[-1].metadata
    assert rows == 108
    assert stamps["missing_cutouts"] == 0
    store.close()


def test_a_block_half_of_whose_rows_are_superseded_stays(tmp_path: Path) -> None:
    changed = pq.read_table(write_changed(tmp_path / "changed", "AGN", swap=True)).slice(0, 10)
    pq.write_table(changed, tmp_path / "half.parquet")
    folder = fill(tmp_path / "store", TDE, tmp_path / "half.parquet")
    before = contents(folder)
    assert compact(folder, full=True).blocks_removed == 0
    assert contents(folder) == before
    assert len(state(folder).blocks) == 2


def test_a_reader_that_began_before_goes_on_to_its_end(many: Path) -> None:
    archive, store = open_archive(many)
    expected = everything(archive, "ztf.upper"), everything(archive, "ztf")[0]
    upper = archive.answer(Query(table="ztf.upper", all=True, digest=True), Caller()).messages
    rows = archive.answer(Query(table="ztf", all=True), Caller()).messages
    first = next(rows)
    before = files(many)
    compact(many, full=True)
    assert not set(before) & {name for name in files(many) if name.suffix == ".arrow" and name.parent.name == "ztf"}
    assert len(first.batch) + sum(len(message.batch) for message in rows) == expected[1]
    record = list(upper)[-1].metadata
    assert (record["rows"], record["digest"]) == expected[0]
    store.close()


def test_a_reader_of_stamps_that_began_before_goes_on_to_its_end(tmp_path: Path) -> None:
    folder = fill(tmp_path / "store", TDE)
    archive, store = open_archive(folder)
    started = archive.answer(Query(table="ztf", all=True, cutouts=CUTOUT_KINDS, digest=True), Caller()).messages
    expected = everything(archive, "ztf")
    archive, other = open_archive(folder)  # has opened no block yet
    started = archive.answer(Query(table="ztf", all=True, cutouts=CUTOUT_KINDS, digest=True), Caller()).messages
    fill(folder, write_changed(tmp_path / "changed", "AGN", swap=True))
    assert compact(folder, full=True).blocks_unused == 1
    fill(folder, NIGHT)  # the next to write clears up
    record = list(started)[-1].metadata
    assert (record["rows"], record["digest"]) == expected
    for one in (store, other):
        one.close()


def keep_asking(url: str, stop: threading.Event) -> list[str]:
    """Read until stopped; return the wrong answers."""
    answers, wrong = 0, []
    with fl.connect(url) as client:
        while not stop.is_set() or answers < 3:
            try:
                found = ask(client, table="ztf", all=True, cutouts=["Science"])
                names = found.table["i:candid"].to_pylist()
                if len(names) < 21 or len(set(names)) != len(names):
                    wrong.append(f"{len(names)} rows, {len(set(names))} alerts")
                if found.record["missing_cutouts"] or set(found.table["d:cdsxmatch"].to_pylist()) == {None}:
                    wrong.append(str(found.record))
                one = ask(client, table="ztf", ids=["ZTF20abfcszi"], columns=["d:cdsxmatch"])
                if len(one.table) != 21 or len(set(one.table["d:cdsxmatch"].to_pylist())) != 1:
                    wrong.append(f"mixed classes: {set(one.table['d:cdsxmatch'].to_pylist())}")
                answers += 1
            except Exception as error:
                wrong.append(repr(error))
                break
    return wrong


@pytest.mark.deep
def test_a_running_server_never_errs_while_ingests_and_compactions_go_on(run: Runner, tmp_path: Path) -> None:
    folder = fill(tmp_path / "store", write_changed(tmp_path / "first", "first", swap=False))
    with serving([COMMAND, "serve", "--port", "0", "--data", folder]) as running, ThreadPoolExecutor(2) as pool:
        stop = threading.Event()
        readers = [pool.submit(keep_asking, running.url, stop) for _ in range(2)]
        try:
            extra = [MANY_AVRO, NEWEST, NIGHT]
            for number in range(ROUNDS):
                path = write_changed(tmp_path / f"{number}", f"class{number}", swap=number % 2 == 0)
                assert run(("ingest", path, *extra[number : number + 1]), folder).returncode == 0
                assert run(("compact", "--full"), folder).returncode == 0
        finally:
            stop.set()
    assert [reader.result() for reader in readers] == [[], []]
    assert damage(folder) == []
    assert segments(folder) == [108]


@pytest.mark.deep
def test_the_command_says_what_it_did(many: Path) -> None:
    count = len(segments(many))
    done = subprocess.run([COMMAND, "compact", "--full", "--data", many], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"ztf: {count} segments, now 1" in done.stdout
    assert "1 blocks of cutouts are no longer used" in done.stdout
    done = subprocess.run([COMMAND, "compact", "--data", many], capture_output=True, text=True, check=False)
    assert "ztf: 1 segments, unchanged" in done.stdout


@pytest.mark.parametrize(
    ("sizes", "full", "chosen"),
    [
        ([], False, None),
        ([5], True, None),
        ([5, 5], True, slice(0, 2)),
        ([5, 5, 5], False, None),
        ([5, 5, 5, 5], False, slice(0, 4)),
        ([100, 5, 5, 5, 5], False, slice(1, 5)),
        ([60, 5, 5, 5, 5], False, slice(0, 5)),
        ([100, 5, 5, 5, 5], True, slice(0, 5)),
        ([LARGE, 5, 5, 5, 5], True, slice(1, 5)),
        ([LARGE, LARGE], True, None),
    ],
)
def test_which_neighbours_are_merged(sizes: list[int], full: bool, chosen: slice | None) -> None:
    assert choose(sizes, full=full) == chosen


@given(SIZES, st.booleans())
def test_only_neighbours_are_merged_and_never_large_ones(sizes: list[int], full: bool) -> None:
    chosen = choose(sizes, full=full)
    if chosen is not None:
        merged = sizes[chosen]
        assert chosen.step is None
        assert 0 <= chosen.start < chosen.stop <= len(sizes)
        assert len(merged) >= (2 if full else FEWEST)
        assert all(size < LARGE for size in merged)
        if not full:
            assert all(size <= ALIKE * max(sum(merged[at + 1 :]), merged[-1]) for at, size in enumerate(merged))


@given(SIZES, st.booleans())
def test_merging_again_and_again_comes_to_an_end(sizes: list[int], full: bool) -> None:
    rounds = 0
    while (chosen := choose(sizes, full=full)) is not None:
        total = sum(sizes[chosen])
        made = [SEGMENT_BYTES] * (total // SEGMENT_BYTES) + [total % SEGMENT_BYTES or 1]
        sizes = [*sizes[: chosen.start], *made, *sizes[chosen.stop :]]
        rounds += 1
        assert rounds <= 30
    assert choose(sizes, full=full) is None


@given(st.lists(st.integers(1, 3000), min_size=2, max_size=10), st.lists(st.just(LARGE), min_size=1, max_size=2))
def test_a_full_compaction_merges_small_segments_that_are_older_than_a_large_one(small: list[int], large: list[int]) -> None:
    assert choose([*small, *large], full=True) == slice(0, len(small))


@given(st.lists(st.integers(900, 1100), min_size=200, max_size=200))
def test_the_number_of_segments_grows_slowly_and_each_row_is_rewritten_seldom(ingests: list[int]) -> None:
    sizes: list[int] = []
    rewritten = 0
    for size in ingests:
        sizes.append(size)
        if (chosen := choose(sizes, full=False)) is not None:
            rewritten += sum(sizes[chosen])
            sizes[chosen] = [sum(sizes[chosen])]
        assert len(sizes) < 16
    assert rewritten < 10 * sum(ingests)


def test_segments_stay_below_the_limit(run: Runner, tmp_path: Path) -> None:
    """Two ingests of 4000 rows each, and a limit of about a third of one of them."""
    limit = 1 << 20
    small = {f"{EMBEDDED}.segment_output.SEGMENT_BYTES": limit, f"{EMBEDDED}.compaction.SEGMENT_BYTES": limit}
    for seed in range(2):
        simulate(tmp_path / f"{seed}", objects=400, nights=2, seed=seed, alerts_each=10)
        rename(tmp_path / f"{seed}", seed)
    folder, whole = tmp_path / "store", tmp_path / "whole"
    for seed in range(2):
        assert run(("ingest", tmp_path / f"{seed}"), folder, **small).returncode == 0
        assert run(("ingest", tmp_path / f"{seed}"), whole).returncode == 0
    before = contents(whole)
    assert before["ztf"][0] == 8_000
    assert contents(folder) == before
    batch = max(length for record in state(whole).segments for length in lengths(record.batches))
    for command in (("compact",), ("compact", "--full"), ("compact", "--full")):
        for record in state(folder).segments:
            assert record.data_bytes <= limit + 2 * batch, f"{record.table_name} {record.name} has {record.data_bytes} bytes"
        done = run(command, folder, **small)
        assert done.returncode == 0, done.stderr
        assert checked_contents(folder) == before


def lengths(directory: bytes) -> list[int]:
    return np.frombuffer(directory, DIRECTORY)["length"].tolist()


@pytest.mark.deep
def test_rows_of_large_tables_that_supersede_each_other(run: Runner, tmp_path: Path, open_store: Callable[..., Opened]) -> None:
    """The same rows written again with other classes, in several segments: the newest are read, once."""
    limit = 1 << 19
    small = {f"{EMBEDDED}.segment_output.SEGMENT_BYTES": limit, f"{EMBEDDED}.compaction.SEGMENT_BYTES": limit}
    simulate(tmp_path / "alerts", objects=200, nights=1, seed=1, alerts_each=15)
    (file,) = (tmp_path / "alerts").rglob("*.parquet")
    table = pq.ParquetFile(file).read()
    for number in range(4):
        place = table.column_names.index("cdsxmatch")
        some = table.set_column(place, "cdsxmatch", pa.array([f"class{number}"] * len(table))).slice(500 * number)
        pq.write_table(some, file)
        assert run(("ingest", file), tmp_path / "store", **small).returncode == 0
        if number == 1:
            assert run(("compact", "--full"), tmp_path / "store", **small).returncode == 0
    before = contents(tmp_path / "store")
    assert before["ztf"][0] == 3000
    assert run(("compact", "--full"), tmp_path / "store", **small).returncode == 0
    assert contents(tmp_path / "store") == before
    assert damage(tmp_path / "store") == []
    answer = open_store("store").archive.answer(Query(table="ztf", all=True, columns=("d:cdsxmatch",)), Caller())
    found = pa.Table.from_batches([message.batch for message in answer.messages])["d:cdsxmatch"].to_pylist()
    assert json.loads(json.dumps({label: found.count(label) for label in sorted(set(found))})) == {
        "class0": 500,
        "class1": 500,
        "class2": 500,
        "class3": 1500,
    }
