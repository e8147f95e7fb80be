"""Reads of blocks take turns: one cutout does not wait behind all those that others want."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest
from block_answers import KINDS, ZTF, Block, load

from flight_server.storage.blocks import BlockCutouts, LocalFiles, columns
from flight_server.storage.blocks.files import BlockFile
from flight_server.storage.blocks.output import block_schema, write_block
from flight_server.storage.protocols import PendingStamps

ROWS = 640  # 20 row groups
TURNS = 8


@dataclass
class ReadFiles(LocalFiles):
    """Files on disk; lists the blocks in the order of their reads, of which the first one waits."""

    folder: Path
    order: list[str] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(self.folder)

    def open(self, path: str) -> BlockFile:
        return ReadFile(self, Path(path).stem, super().open(path))


@dataclass
class ReadFile:
    """One of these files."""

    files: ReadFiles
    name: str
    file: BlockFile

    @property
    def size(self) -> int:
        return self.file.size

    @property
    def version(self) -> tuple[int, ...]:
        return self.file.version

    def read(self, offset: int, length: int) -> bytes | bytearray:
        self.files.order.append(self.name)
        self.files.begun.set()
        assert self.files.go_on.wait(60)
        return self.file.read(offset, length)


def block(folder: Path, name: str) -> Block:
    """Write a block of cutouts of 2 kB each, which differ."""
    stamps = [[{"stampData": bytes([number % 251, len(kind)]) * 1000} for number in range(ROWS)] for kind in KINDS]
    cells = [pa.array([f"ZTF{number}" for number in range(ROWS)]), pa.array(range(ROWS), pa.int64())]
    schema = block_schema(ZTF)
    cells += [pa.array(some, schema.field(f"cutout{kind}").type) for kind, some in zip(KINDS, stamps, strict=True)]
    write_block(folder / f"{name}.parquet", pa.Table.from_arrays(cells, schema=schema), ZTF)
    return load(folder / f"{name}.parquet")


def begin(cutouts: BlockCutouts, wanted: Block, rows: int) -> PendingStamps:
    paths = pa.array([str(wanted.path)] * rows, pa.string())
    return cutouts.begin(wanted.layout, paths, wanted.object_ids.slice(0, rows), wanted.alert_ids.slice(0, rows), KINDS)


def test_one_cutout_waits_for_one_piece_of_each_other_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "BATCH_BYTES", 1)  # each page is a piece of work
    names = [f"heavy{number}" for number in range(TURNS)]
    blocks = {name: block(tmp_path, name) for name in [*names, "small"]}
    files = ReadFiles(tmp_path)
    cutouts = BlockCutouts(files, threads=1)
    heavy = [begin(cutouts, blocks[name], ROWS) for name in names]
    assert files.begun.wait(60)
    small = begin(cutouts, blocks["small"], 1)
    files.go_on.set()
    for pending, wanted in zip([*heavy, small], blocks.values(), strict=True):
        stamps = None
        while stamps is None:
            stamps = pending.wait(1)
        rows = 1 if pending is small else ROWS
        assert stamps.failures == ()
        for kind in KINDS:
            assert stamps.kinds[kind].equals(wanted.stamps[kind].slice(0, rows))
    last = len(files.order) - files.order[::-1].index("small")
    before = files.order[:last]
    # the first piece of a read opens the block and reads a page, the others read one page each; a small read has 3
    opening = before.count("small")
    assert all(before.count(name) <= opening + len(KINDS) for name in names), before
    assert len(files.order) > 20 * len(before) / TURNS, "most of the heavy reads came later"


def test_a_cancelled_read_leaves_its_work_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "BATCH_BYTES", 1)
    blocks = [block(tmp_path, name) for name in ("first", "second")]
    files = ReadFiles(tmp_path)
    cutouts = BlockCutouts(files, threads=1)
    cancelled = begin(cutouts, blocks[0], ROWS)
    assert files.begun.wait(60)
    after = begin(cutouts, blocks[1], 1)
    cancelled.cancel()
    files.go_on.set()
    while after.wait(1) is None:
        pass
    while cancelled.wait(1) is None:  # it ends too, with what it has
        pass
    # to open a block takes one read for each row group, and its cutouts would have taken three more
    assert files.order.count("first") < 2 * ROWS // 32
    assert cutouts.drop(cancelled) == 0  # type: ignore[arg-type]
