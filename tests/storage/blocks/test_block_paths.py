"""The paths of blocks that cells may have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import NIGHT
from block_answers import load

from flight_server.protocol.errors import CorruptData, InternalError
from flight_server.storage.blocks import BlockCutouts, LocalFiles
from flight_server.storage.blocks.files import BlockPaths

OUTSIDE = (
    "/etc/passwd",
    "file:///etc/passwd",
    "../outside.parquet",
    "blocks/../../outside.parquet",
    "blocks/%2e%2e/%2e%2e/outside.parquet",
    "..\\outside.parquet",
    "//outside.parquet",
    "blocks/a.parquet\0.txt",
    "hdfs://evil:9000/etc/passwd",
    "http://evil/x",
    "/" + "a" * 4096,
)


@pytest.mark.parametrize("cell", OUTSIDE)
def test_a_path_outside_of_the_folder_is_refused_and_not_looked_at(tmp_path: Path, cell: str) -> None:
    inside = tmp_path / "store"
    (inside / "blocks").mkdir(parents=True)
    (tmp_path / "outside.parquet").write_bytes(NIGHT.read_bytes())
    block = load(NIGHT)
    with pytest.raises(CorruptData, match="outside of the folders in data") as caught:
        block.read(BlockCutouts(LocalFiles(inside)), [0], ["Science"], path=cell)
    assert len(caught.value.message) < 300
    assert str(tmp_path) not in caught.value.message


def test_no_link_leads_out(tmp_path: Path) -> None:
    inside = tmp_path / "store"
    inside.mkdir()
    (tmp_path / "outside.parquet").write_bytes(NIGHT.read_bytes())
    (inside / "link.parquet").symlink_to(tmp_path / "outside.parquet")
    block = load(NIGHT)
    with pytest.raises(CorruptData, match="outside of the folders"):
        block.read(BlockCutouts(LocalFiles(inside)), [0], ["Science"], path="link.parquet")
    (inside / "real.parquet").write_bytes(NIGHT.read_bytes())
    (inside / "other.parquet").symlink_to(inside / "real.parquet")
    stamps = block.read(BlockCutouts(LocalFiles(inside)), [0], ["Science"], path="other.parquet")
    assert stamps.kinds["Science"][0] == block.stamps["Science"][0]


def test_the_longest_beginning_that_fits_is_rewritten_once() -> None:
    rewrite = {"hdfs://": "hdfs://wrong", "hdfs://a:8020": "hdfs://b", "hdfs://a:8020/user": "hdfs://a:8020/archive"}
    paths = BlockPaths(["/archive/"], rewrite, "hdfs.roots")
    assert paths.path("hdfs://a:8020/user/x.parquet") == "/archive/x.parquet"
    with pytest.raises(CorruptData):
        paths.path("hdfs://a:8020/other/x.parquet")


def test_a_root_is_a_folder_not_a_beginning() -> None:
    paths = BlockPaths(["/archive"], {}, "hdfs.roots")
    with pytest.raises(CorruptData):
        paths.path("hdfs://a/archive-of-others/x.parquet")


def test_files_that_are_no_blocks_are_damaged_not_fatal(tmp_path: Path) -> None:
    block = load(NIGHT)
    whole = NIGHT.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"objectId": [["a"]], "candid": [1]}), other)
    wrong = {
        "empty": b"",
        "short": b"PAR1PAR1",
        "text": b"not parquet at all" * 100,
        "cut": whole[: len(whole) // 2],
        "length": whole[:-8] + b"\xff\xff\xff\x7fPAR1",
        "footer": whole[:footer] + bytes(200) + whole[footer + 200 :],
        "lists": other.read_bytes(),
    }
    for name, content in wrong.items():
        (tmp_path / name).write_bytes(content)
        stamps = block.read(BlockCutouts(LocalFiles(tmp_path)), [0, 1], ["Science"], path=name)
        assert [one.reason for one in stamps.failures] == ["block_damaged"] * 2, name
        assert stamps.kinds["Science"].null_count == 2


class Panic(BaseException):
    """The exception of a native client that panics."""


def test_a_reader_that_breaks_down_ends_the_reading(tmp_path: Path) -> None:
    class Broken(LocalFiles):
        def open(self, path: str) -> Any:
            raise Panic(path)

    block = load(NIGHT)
    with pytest.raises(InternalError, match="reading a block failed unexpectedly"):
        block.read(BlockCutouts(Broken(tmp_path)), [0, 1], path="any.parquet")
