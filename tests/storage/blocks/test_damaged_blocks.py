"""Flipped bits and wrong indexes: equal cutouts or counted failures, never wrong cutouts."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import NIGHT
from block_answers import KINDS, ZTF, Block, load, reader

from flight_server.storage.blocks.compact import CompactReader
from flight_server.storage.blocks.output import write_block

FLIPS = 400


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Block:
    """A block with checksums that consists mostly of cutout pages and their index."""
    path = tmp_path_factory.mktemp("whole") / "block.parquet"
    rows = pq.ParquetFile(NIGHT).read().select(["objectId", "candid", *(f"cutout{kind}" for kind in KINDS)])
    write_block(path, rows, ZTF)
    return load(path)


def changes(block: Block, content: bytes) -> str | None:
    """Read all of a changed block; return the wrong cutouts."""
    block.path.write_bytes(content)
    rows = list(range(len(block.alert_ids)))
    stamps = block.read(reader(block.path), rows)
    failed = {(one.row, one.kind) for one in stamps.failures}
    for kind in KINDS:
        found, expected = stamps.kinds[kind].to_pylist(), block.stamps[kind].to_pylist()
        for row in rows:
            if (row, kind) in failed:
                if found[row] is not None:
                    return f"{kind} of row {row} is there though it failed"
            elif found[row] != expected[row]:
                return f"{kind} of row {row} is another one"
    return None


def copied(whole: Block, folder: Path) -> Block:
    return Block(folder / "block.parquet", whole.layout, whole.object_ids, whole.alert_ids, whole.stamps)


@pytest.mark.deep
def test_flipped_bits_in_pages_and_indexes(whole: Block, tmp_path: Path) -> None:
    block, content = copied(whole, tmp_path), whole.path.read_bytes()
    end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    chance = random.Random(6)
    metadata = pq.read_metadata(whole.path)
    heads = [
        metadata.row_group(group).column(place).data_page_offset
        for group in range(metadata.num_row_groups)
        for place in range(metadata.num_columns)
    ]
    # anywhere in the pages, in the page headers, and in the indexes behind the last page; the footer has no checksum here
    places = [chance.randrange(4, end) for _ in range(FLIPS // 2)]
    places += [chance.choice(heads) + chance.randrange(24) for _ in range(FLIPS // 4)]
    places += [chance.randrange(end - 6000, end) for _ in range(FLIPS // 4)]
    wrong = []
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        if said := changes(block, bytes(changed)):
            wrong.append(f"byte {place}: {said}")
    assert wrong == []


def test_a_flipped_bit_costs_one_page_only(whole: Block, tmp_path: Path) -> None:
    block, content = copied(whole, tmp_path), bytearray(whole.path.read_bytes())
    chunk = pq.read_metadata(whole.path).row_group(1).column(3)
    assert chunk.path_in_schema == "cutoutScience.stampData"
    content[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 4
    block.path.write_bytes(content)
    stamps = block.read(reader(block.path), list(range(len(block.alert_ids))))
    assert {one.kind for one in stamps.failures} == {"Science"}
    assert 0 < len(stamps.failures) <= 32
    assert all(32 <= one.row < 64 for one in stamps.failures)


def test_truncated_blocks(whole: Block, tmp_path: Path) -> None:
    block, content = copied(whole, tmp_path), whole.path.read_bytes()
    for length in (0, 3, 11, 12, 100, len(content) // 3, len(content) - 9, len(content) - 8, len(content) - 1):
        assert changes(block, content[:length]) is None
        stamps = block.read(reader(block.path), [0])
        assert {one.reason for one in stamps.failures} == {"block_damaged"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x15",
        b"\x19\xff\xff\xff\xff\xff\x7f",
        b"\x18\xff\xff\xff\xff\x0f",
        b"\x1c" * 40,
        b"\x1b\x05\x66",
        b"\x1d\x00",
        b"\x15" + b"\xff" * 12,
    ],
)
def test_what_is_not_in_the_protocol_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        CompactReader(data).struct()


def test_the_name_of_a_column_in_other_places_of_a_footer_misleads_nobody(tmp_path: Path) -> None:
    """Offset indexes are found by a column's path among the footer's bytes; here it stands in statistics and metadata too."""
    path_bytes = b"\x28\x0dcutoutScience\x09stampData"
    rows = pq.ParquetFile(NIGHT).read().select(["objectId", "candid", *(f"cutout{kind}" for kind in KINDS)]).slice(0, 40)
    rows = rows.append_column("a", pa.array([path_bytes + bytes([0x15, 2, 0x16, 80, 0x16, 9, 0]) * 3] * 40))
    rows = rows.replace_schema_metadata({b"note": path_bytes * 2})
    path = tmp_path / "block.parquet"
    pq.write_table(rows, path, write_page_index=True)
    load(path).check(reader(path), list(range(40)))
