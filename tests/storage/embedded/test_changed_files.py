"""Files of an open store that are cut short, deleted, replaced or changed: answers that need them fail, others go on."""

from __future__ import annotations

import mmap
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alert_data import NIGHT, TDE
from archives import Answered, Opened, messages, open_embedded

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.columns import Projection
from flight_server.protocol.errors import BackendLost, CorruptData
from flight_server.protocol.query import Query
from flight_server.simulate import simulate
from flight_server.storage.embedded import mapped_files, open_segments, range_groups, verify_folder
from flight_server.storage.regular_files import file_stamp
from flight_server.storage.scans import Rows, Scan

CATALOG = load_catalog()
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def ingested_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ingested")
    opened = open_embedded(folder)
    opened.ingest(TDE, NIGHT)
    opened.store.close()
    return folder


@pytest.fixture
def opened(ingested_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """An open store all of which has been read; it looks at its files before each answer."""
    monkeypatch.setattr(mapped_files, "LOOK_SECONDS", 0.0)
    found = open_embedded(Path(shutil.copytree(ingested_folder, tmp_path / "store")))
    everything(found)
    assert found.archive.faults() == {}
    yield found
    found.store.close()


def everything(opened: Opened, table: str = "ztf", **fields: object) -> Answered:
    return messages(opened, Query(table=table, all=True, digest=True, **fields))  # type: ignore[arg-type]


def file_of(opened: Opened, ending: str, table: str = "ztf") -> Path:
    (file,) = (opened.settings.folder / "segments" / table).glob(f"*.{ending}")
    return file


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def extend(file: Path) -> None:
    with file.open("ab") as handle:
        handle.write(b"more")


def overwrite(file: Path) -> None:
    with file.open("r+b") as handle:
        handle.write(os.urandom(file.stat().st_size))


def replace_by_other(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(os.urandom(file.stat().st_size))
    other.replace(file)


def become_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def become_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def become_socket(file: Path) -> None:
    file.unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{file.name}")  # the length of a socket's path is limited
    os.close(folder)


def become_device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def mend(file: Path, content: bytes) -> None:
    if file.is_dir():
        file.rmdir()
    elif file.is_symlink() or file.exists():
        file.unlink()
    file.write_bytes(content)


GONE: list[Change] = [Path.unlink, become_folder, become_fifo, become_socket, become_device]
CHANGES: list[Change] = [cut_short, empty, extend, overwrite, replace_by_other, *GONE]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("ending", ["arrow", "keys"])
def test_a_changed_segment_is_damage_of_its_table_until_it_is_mended(opened: Opened, ending: str, change: Change) -> None:
    before = everything(opened)
    file = file_of(opened, ending)
    content = file.read_bytes()
    change(file)
    for _ in range(2):
        with pytest.raises(CorruptData, match="segment 0"):
            everything(opened)
    with pytest.raises(CorruptData, match="segment 0"):
        messages(opened, Query(table="ztf", ids=("ZTF20abfcszi",)))
    assert opened.archive.faults()["ztf"].code == "corrupt_data"
    assert set(opened.archive.faults()) == {"ztf"}
    assert everything(opened, "ztf.upper").record["complete"], "other tables are answered"
    assert any(str(file.name) in line for line in verify_folder(opened.settings.folder))
    mend(file, content)
    assert everything(opened).record == before.record
    assert opened.archive.faults() == {}


def test_what_a_name_stands_for_is_told(opened: Opened) -> None:
    for change, kind in (
        (become_folder, "a folder"),
        (become_fifo, "a FIFO"),
        (become_socket, "a socket"),
        (become_device, "a device"),
    ):
        file = file_of(opened, "arrow")
        content = file.read_bytes()
        change(file)
        with pytest.raises(CorruptData, match=f"it is {kind}, not a file"):
            everything(opened)
        mend(file, content)
        assert everything(opened).record["complete"]


def test_bits_that_flip_after_a_batch_was_read_are_found(opened: Opened) -> None:
    file = file_of(opened, "arrow")
    content = bytearray(file.read_bytes())
    state = file.stat()
    content[len(content) // 2] ^= 4
    with file.open("r+b") as handle:  # the same file, as large as before
        handle.write(content)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # and as old
    with pytest.raises(CorruptData, match="wrong checksum, keys from"):
        everything(opened)
    assert "wrong checksum" in opened.archive.faults()["ztf"].message
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    assert everything(opened).record["complete"]
    assert opened.archive.faults() == {}


def test_a_file_that_was_only_touched_is_read_on(opened: Opened) -> None:
    before = everything(opened)
    file = file_of(opened, "arrow")
    os.utime(file)
    file_of(opened, "keys").chmod(0o400)
    assert everything(opened).record == before.record
    assert opened.archive.faults() == {}
    copy = file.with_name("copy")
    shutil.copyfile(file, copy)
    copy.replace(file)
    assert everything(opened).record == before.record


@pytest.fixture
def running_scan(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rows]:
    """A scan of many objects that reads each of them by itself, after its first rows."""
    for name in ("GROUP_BYTES", "FIRST_GROUP_BYTES"):
        monkeypatch.setattr(range_groups, name, 1)
    names = tuple(dict.fromkeys(everything(opened).table["i:objectId"].to_pylist()))
    table = CATALOG.table("ztf")
    scan = opened.store.view().scan(Scan(table=table, columns=Projection([CATALOG.column(table, "i:jd")]), ids=names))
    assert len(next(scan)) >= 1
    return scan


def test_an_answer_under_way_ends_when_its_file_is_cut_short(opened: Opened, running_scan: Iterator[Rows]) -> None:
    cut_short(file_of(opened, "arrow"))
    with pytest.raises(CorruptData, match="cut short"):
        list(running_scan)


def test_an_answer_under_way_ends_when_its_bits_flip(opened: Opened, running_scan: Iterator[Rows]) -> None:
    overwrite(file_of(opened, "arrow"))
    with pytest.raises(CorruptData, match="wrong checksum"):
        list(running_scan)


def test_an_answer_under_way_goes_on_with_the_mapped_file_when_that_is_deleted(
    opened: Opened, running_scan: Iterator[Rows]
) -> None:
    rows = everything(opened).record["rows"]
    file_of(opened, "arrow").unlink()
    file_of(opened, "keys").unlink()
    assert 0 < sum(len(some) for some in running_scan) < rows


def test_an_answer_under_way_ends_when_its_deleted_file_is_cut_short(opened: Opened, running_scan: Iterator[Rows]) -> None:
    file = file_of(opened, "arrow")
    with file.open("r+b") as handle:
        file.unlink()
        handle.truncate(4096)
        with pytest.raises(CorruptData, match="cut short"):
            list(running_scan)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_open_segments_need_no_descriptors(opened: Opened) -> None:
    before = descriptors()
    again = open_embedded(opened.settings.folder)
    everything(again)
    assert descriptors() - before < len(list(opened.settings.folder.glob("segments/*/*")))
    again.store.close()


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_manifest_is_damage_of_all_tables_until_it_is_mended(opened: Opened, change: Change) -> None:
    before = everything(opened)
    file = opened.settings.folder / "manifest.sqlite"
    content = file.read_bytes()
    change(file)
    if change is extend:  # SQLite has the number of pages in the file, and ignores what follows
        assert everything(opened).record == before.record
        return
    for table in ("ztf", "ztf.upper", "ztf.class"):
        with pytest.raises(CorruptData, match="manifest"):
            everything(opened, table)
    faults = opened.archive.faults()
    assert set(faults) == set(CATALOG.tables)
    assert {fault.code for fault in faults.values()} == {"corrupt_data"}
    assert opened.archive.states()["ztf"].rows == before.record["rows"], "as far as is known"
    with pytest.raises((CorruptData, BackendLost)):
        opened.ingest(TDE)
    mend(file, content)
    assert everything(opened).record == before.record
    assert opened.archive.faults() == {}
    assert not list(verify_folder(opened.settings.folder))


@pytest.mark.parametrize("change", [become_folder, become_fifo, become_socket, become_device])
def test_a_store_whose_manifest_is_no_file_is_not_opened(opened: Opened, change: Change) -> None:
    folder = opened.settings.folder
    change(folder / "manifest.sqlite")
    with pytest.raises(CorruptData, match=r"the manifest cannot be read: manifest.sqlite: it is a .*, not a file"):
        open_embedded(folder)
    assert [line for line in verify_folder(folder) if "not a file" in line]


@pytest.mark.parametrize("change", [become_folder, become_fifo, become_socket])
def test_a_journal_that_is_no_file_is_damage_of_the_manifest(opened: Opened, change: Change) -> None:
    journal = opened.settings.folder / "manifest.sqlite-journal"
    journal.touch()
    change(journal)
    opened.store.refresh()
    with pytest.raises(CorruptData, match=r"manifest.sqlite-journal: it is a"):
        everything(opened)
    mend(journal, b"")
    journal.unlink()
    opened.store.refresh()
    assert everything(opened).record["complete"]


def test_a_manifest_of_another_store_is_served_if_its_files_are_there(opened: Opened, tmp_path: Path) -> None:
    other = open_embedded(tmp_path / "other")
    other.ingest(TDE)
    other.store.close()
    folder = opened.settings.folder
    shutil.rmtree(folder / "segments")
    for name in ("segments", "blocks"):
        shutil.copytree(tmp_path / "other" / name, folder / name, dirs_exist_ok=True)
    (tmp_path / "other" / "manifest.sqlite").replace(folder / "manifest.sqlite")
    assert everything(opened).record["rows"] == 21
    opened.ingest(NIGHT)
    assert everything(opened).record["rows"] == 88


def test_an_ingest_whose_manifest_is_replaced_says_that_nothing_is_stored(opened: Opened, tmp_path: Path) -> None:
    file = opened.settings.folder / "manifest.sqlite"
    shutil.copyfile(file, tmp_path / "copy")
    with pytest.raises(CorruptData, match="replaced or removed"), opened.store.writing() as transaction:  # type: ignore[union-attr]
        (tmp_path / "copy").replace(file)
        transaction.commit(1, 1)
        transaction._manifest.commit([])
    assert everything(opened).record["rows"] == 88


@pytest.mark.parametrize("change", GONE)
def test_a_lock_that_is_no_file_is_named(opened: Opened, change: Change) -> None:
    change(opened.settings.folder / "lock")
    if change is Path.unlink:
        assert opened.ingest(TDE).alerts == 21
        return
    with pytest.raises(BackendLost, match="not a file"):
        opened.ingest(TDE)
    assert everything(opened).record["rows"] == 88


@pytest.mark.parametrize("change", [become_folder, become_fifo, become_socket, cut_short, overwrite, Path.unlink])
def test_a_changed_block_costs_only_its_cutouts(opened: Opened, change: Change) -> None:
    whole = everything(opened, cutouts=("Science",)).record
    assert "cutout_errors" not in whole or not whole["cutout_errors"]
    block = next((opened.settings.folder / "blocks").glob("*.parquet"))
    content = block.read_bytes()
    change(block)
    record = everything(opened, cutouts=("Science",)).record
    assert record["rows"] == whole["rows"]
    assert record["cutout_errors"]
    mend(block, content)
    assert everything(opened, cutouts=("Science",)).record == whole


def flip_unseen(file: Path) -> Callable[[int], None]:
    """Return a function that flips a bit of a file without a change of its times, as a failing disk does.

    A page that is written to through a map counts as changed when it is first written to, not again.
    """
    with file.open("r+b") as handle:
        mapped = mmap.mmap(handle.fileno(), 0)
    for place in range(0, len(mapped), mmap.PAGESIZE):
        mapped[place] = mapped[place]

    def flip(place: int) -> None:
        mapped[place] ^= 4

    return flip


def test_a_scrub_finds_what_no_change_of_a_file_tells(opened: Opened) -> None:
    file = file_of(opened, "arrow")
    flip = flip_unseen(file)
    before = everything(opened)
    stamp = file_stamp(file)
    place = file.stat().st_size // 2
    flip(place)
    if file_stamp(file) != stamp:
        pytest.skip("the pages were written to disk meanwhile")
    assert everything(opened).record["digest"] != before.record["digest"], "nothing tells"
    read = []
    lines = list(opened.store.scrub(lambda size, total: read.append((size, total))))  # type: ignore[union-attr]
    assert lines == [f"segments/ztf/{file.name} is not what was written"]
    assert sum(size for size, _ in read) == read[0][1], "every byte was read once"
    with pytest.raises(CorruptData, match="wrong checksum"):
        everything(opened)
    assert opened.archive.faults()["ztf"].code == "corrupt_data"
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)
    assert everything(opened).record == before.record
    assert opened.archive.faults() == {}
    assert not list(opened.store.scrub(lambda *_: None))  # type: ignore[union-attr]


def test_a_scrub_names_damaged_blocks_and_their_tables(opened: Opened) -> None:
    block = next((opened.settings.folder / "blocks").glob("*.parquet"))
    content = block.read_bytes()
    overwrite(block)
    assert list(opened.store.scrub(lambda *_: None)) == [f"blocks/{block.name} is not what was written"]  # type: ignore[union-attr]
    assert set(opened.archive.faults()) == {"ztf.cutouts"}
    assert everything(opened, "ztf.cutouts").record["complete"], "its rows are whole"
    block.write_bytes(content)
    assert opened.archive.faults() == {}


def test_a_scrub_that_was_left_goes_on_where_it_was(opened: Opened) -> None:
    class LeftError(Exception):
        pass

    def some(opened: Opened, most: int) -> int:
        """Read until some bytes were read; return how many, or 0 if it came to its end."""
        read = 0

        def pause(size: int, _total: int) -> None:
            nonlocal read
            read += size
            if read > most:
                raise LeftError

        try:
            assert not list(opened.store.scrub(pause))  # type: ignore[union-attr]
        except LeftError:
            return read
        return 0

    sizes = [file.stat().st_size for name in ("segments", "blocks") for file in (opened.settings.folder / name).rglob("*.*")]
    passes = 1
    while some(opened, max(sizes)):
        passes += 1
        opened = open_embedded(opened.settings.folder)
        assert passes < len(sizes), "it begins again and again"
    assert passes > 1
    assert not some(opened, sum(sizes)), "the next one begins at the first file"
    opened.store.close()


def test_a_segment_that_changed_is_scrubbed_at_once(opened: Opened) -> None:
    file = file_of(opened, "arrow")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    assert "ztf" not in opened.archive.faults(), "nobody has read it"
    assert list(opened.store.scrub_changed()) == [f"segments/ztf/{file.name} is not what was written"]  # type: ignore[union-attr]
    assert opened.archive.faults()["ztf"].code == "corrupt_data"
    assert not list(opened.store.scrub_changed())  # type: ignore[union-attr]


def test_segments_that_a_compaction_removes_are_no_damage(opened: Opened, tmp_path: Path) -> None:
    simulate(tmp_path / "more", objects=5, nights=1, seed=1)
    opened.ingest(tmp_path / "more")
    writing = open_embedded(opened.settings.folder)
    reports = []

    def compact(_size: int, _total: int) -> None:
        if not reports:
            reports.append(writing.store.compact(full=True))  # type: ignore[union-attr]

    assert not list(opened.store.scrub(compact))  # type: ignore[union-attr]
    assert reports[0].segments["ztf"] == (2, 1)
    assert opened.archive.faults() == {}
    writing.store.close()


def test_open_segments_are_kept_while_their_files_stay(opened: Opened) -> None:
    held = open_segments.OpenSegments(opened.settings.folder)
    state = opened.store.view()._state  # type: ignore[attr-defined]
    first, second = (held.open(state)[0] for _ in range(2))
    assert all(one is other for table in first for one, other in zip(first[table], second[table], strict=True))
    assert not held.have_changed()
    os.utime(file_of(opened, "keys"))
    assert held.have_changed()
