"""The manifest of an open store that is changed, and a lock that is no file: damage of all tables until it is mended."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from alert_data import NIGHT, TDE
from archives import Opened, open_embedded
from file_changes import CHANGES, GONE, Change, become_device, become_fifo, become_folder, become_socket, extend, mend
from whole_tables import everything

from flight_server.catalog.catalog import load_catalog
from flight_server.protocol.errors import BackendLost, CorruptData
from flight_server.storage.embedded import verify_folder

CATALOG = load_catalog()


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
