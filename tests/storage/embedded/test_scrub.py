"""The scrub: it finds damage that no change of a file tells, names it, and reads each byte once."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import Opened, open_embedded
from file_changes import overwrite
from whole_tables import everything, file_of

from flight_server.protocol.errors import CorruptData
from flight_server.simulate import simulate
from flight_server.storage.regular_files import file_stamp


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
