"""Files of an open store that are cut short, deleted, replaced or changed: answers that need them fail, others go on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Opened, messages, open_embedded
from file_changes import CHANGES, Change, become_device, become_fifo, become_folder, become_socket, cut_short, mend, overwrite
from whole_tables import everything, file_of

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.columns import Projection
from flight_server.protocol.errors import CorruptData
from flight_server.protocol.query import Query
from flight_server.storage.embedded import open_segments, range_groups, verify_folder
from flight_server.storage.scans import Rows, Scan

CATALOG = load_catalog()


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


def test_open_segments_are_kept_while_their_files_stay(opened: Opened) -> None:
    held = open_segments.OpenSegments(opened.settings.folder)
    state = opened.store.view()._state  # type: ignore[attr-defined]
    first, second = (held.open(state)[0] for _ in range(2))
    assert all(one is other for table in first for one, other in zip(first[table], second[table], strict=True))
    assert not held.have_changed()
    os.utime(file_of(opened, "keys"))
    assert held.have_changed()
