"""The cache of block indexes: bounded by what they take in memory, also as they grow."""

from __future__ import annotations

from pathlib import Path

import pytest
from alert_data import NIGHT
from block_answers import ZTF

from flight_server.storage.blocks import LocalFiles
from flight_server.storage.blocks.index import BlockIndex, IndexCache, open_index


@pytest.fixture
def indexes() -> list[BlockIndex]:
    """Three indexes of one block."""
    return [open_index(LocalFiles(NIGHT.parent).open(str(NIGHT)), ZTF) for _ in range(3)]


def grow(index: BlockIndex) -> int:
    """Find all pages; return the cost before."""
    before = index.cost
    for leaf in ZTF.stamps.values():
        index.pages_of(leaf)
    return before


def held(cache: IndexCache, names: str) -> str:
    return "".join(name for name in names if cache.get(name) is not None)


def test_the_least_recently_used_goes_first(indexes: list[BlockIndex]) -> None:
    cost = indexes[0].cost
    cache = IndexCache(2 * cost)
    for name, index in zip("abc", indexes, strict=True):
        cache.put(name, index)
        cache.get("a")
    assert held(cache, "abc") == "ac"


def test_indexes_that_grow_leave_room_for_fewer(indexes: list[BlockIndex]) -> None:
    cost = grow(indexes[0])
    grown = indexes[0].cost
    assert grown > cost
    cache = IndexCache(grown + cost)
    cache.put("b", indexes[1])
    cache.put("a", indexes[0])
    assert held(cache, "ba") == "ba"
    grow(indexes[1])
    assert cache.get("b") is indexes[1], "it counts what it takes now"
    assert held(cache, "ab") == "b"
    cache.put("b", indexes[2])  # opened by two readers at once: only the second one counts
    assert cache.get("b") is indexes[2]
    cache.put("c", indexes[0])
    assert held(cache, "bc") == "bc"


def test_only_the_index_with_the_fault_is_dropped(indexes: list[BlockIndex]) -> None:
    cache = IndexCache(10 * indexes[0].cost)
    cache.put("a", indexes[0])
    cache.put("a", indexes[1])
    cache.drop("a", indexes[0])
    assert cache.get("a") is indexes[1]
    cache.drop("a", indexes[1])
    cache.drop("a", indexes[1])
    assert cache.get("a") is None


def test_one_that_is_too_large_is_kept_until_the_next(indexes: list[BlockIndex]) -> None:
    cache = IndexCache(1)
    for name, index in zip("abc", indexes, strict=True):
        cache.put(name, index)
        assert held(cache, "abc") == name


def test_a_replaced_block_is_another_version(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    file, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    file.write_bytes(b"x" * 100)
    before = files.open("a.parquet").version
    other.write_bytes(b"y" * 100)
    other.replace(file)
    assert files.open("a.parquet").version != before
