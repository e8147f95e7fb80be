"""Damaged bytes of a store are found by verify and by every answer that reads them."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from alert_data import MANY_AVRO, TDE
from archives import Opened
from processes import COMMAND
from store_faults import Contents, Runner, contents, damage, everything, fill, open_archive

from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import AlertflightError, CorruptData
from flight_server.protocol.query import Query
from flight_server.simulate import simulate
from flight_server.storage.embedded import EmbeddedStore
from flight_server.storage.embedded.manifest import Manifest, ManifestState

FLIPS = {"manifest.sqlite": 30, ".keys": 10, ".arrow": 20, "footer": 15, "block": 25}
DEEPER = 10
FOOTER = 3000
PAGE = 4096
MANIFEST = "manifest.sqlite"
# bytes of SQLite's header that hold the number of the store's format, and the page size and versions of SQLite's own
FORMAT_NUMBER = range(60, 64)


class Damaged:
    """A store in which one file at a time is changed and then restored."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = contents(folder)
        self.state = state(folder)
        self.held = {file: file.read_bytes() for file in self.store_files()}

    def store_files(self) -> list[Path]:
        found = [*(self.folder / "segments").rglob("*"), *(self.folder / "blocks").rglob("*"), self.folder / MANIFEST]
        return sorted(file for file in found if file.is_file())

    def flip(self, file: Path, bit: int) -> None:
        content = bytearray(self.held[file])
        content[bit // 8] ^= 1 << bit % 8
        file.write_bytes(content)

    def mend(self) -> None:
        for journal in self.folder.glob("manifest.sqlite-*"):
            journal.unlink()
        for file, content in self.held.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists() or file.read_bytes() != content:
                file.write_bytes(content)


def state(folder: Path) -> ManifestState | None:
    try:
        manifest = Manifest(folder / MANIFEST)
        try:
            return replace(manifest.read(), version=0)
        finally:
            manifest.close()
    except AlertflightError:
        return None


def asked(folder: Path) -> Contents | str:
    """Read everything; return the contents, or the error code."""
    try:
        return contents(folder)
    except AlertflightError as error:
        return error.code


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("store"), TDE, MANY_AVRO)


@pytest.fixture
def damaged(intact: Path, tmp_path: Path) -> Damaged:
    return Damaged(Path(shutil.copytree(intact, tmp_path / "damaged")))


def complaint(damaged: Damaged, file: Path, bit: int) -> str | None:
    """Return what is wrong with the handling of one flipped bit, or None."""
    damaged.flip(file, bit)
    where = f"bit {bit % 8} of byte {bit // 8} of {file.name}"
    try:
        named = any(line.startswith(str(file.relative_to(damaged.folder))) for line in damage(damaged.folder))
    except Exception as error:
        damaged.mend()
        return f"{where}: verify ends with {error!r}"
    damaged.flip(file, bit)
    flipped = file.read_bytes()
    try:
        found = asked(damaged.folder)
    except Exception as error:
        damaged.mend()
        return f"{where}: an answer ends with {error!r}"
    harmless = file.name == MANIFEST and state(damaged.folder) == damaged.state and found == damaged.before
    changed = file.read_bytes() != flipped
    damaged.mend()
    if changed:
        return f"{where}: reading has written the file anew"
    if not named and not harmless:
        return f"{where}: verify does not name the file"
    if found not in (damaged.before, "corrupt_data"):
        # a number of another format cannot be told from a store of another release
        if found == "bad_value" and file.name == MANIFEST and bit // 8 in FORMAT_NUMBER:
            return None
        return f"{where}: a silent change: {found}"
    return None


def places(damaged: Damaged, chance: random.Random, deeper: int = 1) -> Iterator[tuple[Path, int]]:
    by_kind = {kind: [f for f in damaged.held if f.name.endswith(kind)] for kind in (MANIFEST, ".keys", ".arrow", ".parquet")}
    for kind, count in FLIPS.items():
        found = by_kind.get(kind, by_kind[".parquet"])
        for number in range(deeper * count):
            file = found[number % len(found)]
            size = len(damaged.held[file])
            # the ends of blocks, where footer and page index stand, and the heads of the manifest's pages get their share
            first = max(0, size - FOOTER) if kind == "footer" else 0
            byte = chance.randrange(first, size)
            if kind == MANIFEST and number % 3 == 0:
                byte = chance.randrange(size // PAGE) * PAGE + chance.randrange(128)
            yield file, byte * 8 + chance.randrange(8)


def complaints(damaged: Damaged, flips: Iterable[tuple[Path, int]]) -> tuple[int, list[str]]:
    """Flip one bit after the other; return their number and the faults found."""
    found = [complaint(damaged, file, bit) for file, bit in flips]
    return len(found), [line for line in found if line]


def test_flipped_bits_are_found_and_named_and_change_no_answer(damaged: Damaged) -> None:
    assert complaints(damaged, places(damaged, random.Random(400))) == (100, [])


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_flipped_bits_are_found_and_named_and_change_no_answer(damaged: Damaged) -> None:
    assert complaints(damaged, places(damaged, random.Random(4000), DEEPER)) == (1000, [])


@pytest.mark.deep
def test_every_bit_of_the_manifests_page_heads(damaged: Damaged) -> None:
    """A page header has the number of rows: a flipped bit there loses rows without damage to the others."""
    file = damaged.folder / MANIFEST
    places = [page + byte for page in range(0, len(damaged.held[file]), PAGE) for byte in range(12)]
    places[:12] = [100 + byte for byte in range(12)]  # the first page begins with the file's own head
    wrong = []
    for bit in (byte * 8 + bit for byte in places for bit in range(8)):
        damaged.flip(file, bit)
        found = state(damaged.folder)
        if found is not None and found != damaged.state:
            damaged.mend()
            wrong.append(complaint(damaged, file, bit))
        damaged.mend()
    assert [line for line in wrong if line] == []


def heads(damaged: Damaged) -> tuple[Path, range]:
    """The bytes of the manifest's header after its magic."""
    return damaged.folder / MANIFEST, range(16, 100)


def totals(damaged: Damaged) -> tuple[Path, range]:
    """The bytes with the row count of a block and the ends of its groups; no Parquet checksum covers them."""
    file = next(file for file in damaged.held if file.suffix == ".parquet")
    end = damaged.held[file].rindex(b"ARROW:schema")
    return file, range(end - 24, end)


@pytest.mark.deep
@pytest.mark.parametrize("part", [heads, totals])
def test_a_bit_of_every_byte(damaged: Damaged, part: Callable[[Damaged], tuple[Path, range]]) -> None:
    file, found = part(damaged)
    assert complaints(damaged, ((file, byte * 8 + byte * 3 % 8) for byte in found)) == (len(found), [])


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", [heads, totals])
def test_every_bit_of_every_byte(damaged: Damaged, part: Callable[[Damaged], tuple[Path, range]]) -> None:
    file, found = part(damaged)
    flips = ((file, byte * 8 + bit) for byte in found for bit in range(8))
    assert complaints(damaged, flips) == (8 * len(found), [])


@pytest.mark.parametrize("text", [b"held_column", b"segment", b"block", b"ingest", b"position", b"checksum", b"age,"])
def test_a_name_in_the_manifests_schema(damaged: Damaged, text: bytes) -> None:
    file = damaged.folder / MANIFEST
    content = damaged.held[file]
    wrong = []
    place = content.find(text)
    while 0 <= place < PAGE:
        wrong += [complaint(damaged, file, (place + at) * 8 + 1) for at in (0, len(text) - 2)]
        place = content.find(text, place + 1)
    assert wrong
    assert [line for line in wrong if line] == []


def found_at_open(folder: Path, file: Path) -> None:
    """A damaged manifest makes the store unreadable, a damaged segment only its table."""
    if file.name == MANIFEST:
        with pytest.raises(CorruptData):
            EmbeddedStore(folder).close()
    elif file.suffix != ".parquet":
        store = EmbeddedStore(folder)
        assert set(store.view().faults) == {file.parent.name}
        store.close()


def test_truncated_files_are_found_at_open(damaged: Damaged) -> None:
    kinds = set()
    for file, content in damaged.held.items():
        # all sizes for one file of each kind, the hardest to see for every file
        sizes = (len(content) - 1,) if file.suffix in kinds else (0, 1, len(content) // 2, len(content) - 1)
        kinds.add(file.suffix)
        for size in sizes:
            file.write_bytes(content[:size])
            lines = damage(damaged.folder)
            assert any(str(file.relative_to(damaged.folder)) in line for line in lines), (file, size, lines)
            found_at_open(damaged.folder, file)
            assert asked(damaged.folder) == "corrupt_data", (file, size)
            damaged.mend()


def test_missing_files_are_found_at_open(damaged: Damaged) -> None:
    for file in damaged.held:
        if file.name == MANIFEST:
            continue
        file.unlink()
        assert f"{file.relative_to(damaged.folder)}: is missing" in damage(damaged.folder)
        found_at_open(damaged.folder, file)
        assert asked(damaged.folder) == "corrupt_data"
        damaged.mend()


def test_an_emptied_manifest_is_no_new_store(damaged: Damaged) -> None:
    """If it were taken for new, the store would be empty, and the next ingest would remove all files."""
    for change in (lambda file: file.write_bytes(b""), Path.unlink):
        change(damaged.folder / MANIFEST)
        with pytest.raises(CorruptData):
            EmbeddedStore(damaged.folder).close()
        damaged.mend()


def test_the_commands_name_the_damage_and_exit_with_1(damaged: Damaged, run: Runner) -> None:
    segment = next(file for file in damaged.held if file.suffix == ".arrow")
    damaged.flip(segment, 8 * 2000)
    done = subprocess.run([COMMAND, "verify", "--data", damaged.folder], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert str(segment.relative_to(damaged.folder)) in done.stdout
    assert "1 wrong" in done.stderr
    segment.write_bytes(b"")
    for command in ("tables", "compact", "verify"):
        ended = run((command,), damaged.folder)
        assert ended.returncode == 1, ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_damaged_batch_ends_only_the_streams_that_touch_it(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    simulate(tmp_path / "alerts", objects=500, nights=2, seed=3, alerts_each=10)
    opened = open_store()
    opened.ingest(tmp_path / "alerts")
    (record,) = [found for found in opened.store._state.segments if found.table_name == "ztf"]
    whole = opened.archive.answer(Query(table="ztf", all=True, columns=("i:objectId",)), Caller())
    names = [name for message in whole.messages for name in message.batch[0].to_pylist()]
    opened.store.close()
    file = opened.settings.folder / "segments" / "ztf" / f"{record.name}.arrow"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)

    archive, store = open_archive(opened.settings.folder)
    damaged_rows, good_rows = range(2000, 3000), (*range(1999), *range(3001, 5000))
    for row in good_rows[::150]:
        query = Query(table="ztf", ids=(names[row],))
        if {names.index(names[row]), names.index(names[row]) + 9} & set(damaged_rows):
            continue
        assert list(archive.answer(query, Caller()).messages)[-1].metadata["rows"] == 10
    started = archive.answer(Query(table="ztf", all=True), Caller()).messages
    assert len(next(started).batch) > 0, "what comes before the damage leaves"
    with pytest.raises(CorruptData) as caught:
        list(started)
    assert "of ztf" in caught.value.message
    assert f"keys from {names[2000]}" in caught.value.message
    assert caught.value.field == "ztf"
    with pytest.raises(CorruptData):
        list(archive.answer(Query(table="ztf", ids=(names[2500],)), Caller()).messages)
    assert everything(archive, "ztf.upper")[0] > 0
    store.close()
