"""Cutouts from blocks on a real HDFS, with damaged replicas and dead DataNodes."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hdfs_native
import pyarrow.parquet as pq
import pytest
from block_answers import KINDS, Block, load, some_rows
from clusters import Cluster, start_cluster
from spark_files import Block as SparkBlock
from spark_files import write_blocks, ztf_alerts
from waiting import wait_until

from flight_server.protocol.errors import BackendLost, CorruptData
from flight_server.storage.blocks import BlockCutouts, HdfsFiles

# Java and Maven are needed, as for HBase
pytestmark = [pytest.mark.hbase, pytest.mark.timeout(1800)]
ROWS = 250


@dataclass
class OnHdfs:
    """A block on HDFS."""

    cluster: Cluster
    block: Block
    uri: str
    earlier: set[Path]

    def reader(self, **words: Any) -> BlockCutouts:
        return BlockCutouts(HdfsFiles(self.cluster.hdfs, **words))

    def check(self, cutouts: BlockCutouts, rows: list[int], kinds: tuple[str, ...] = KINDS) -> None:
        stamps = self.block.read(cutouts, rows, kinds, path=self.uri)
        assert stamps.failures == ()
        for kind in kinds:
            assert stamps.kinds[kind].equals(self.block.expected(rows, kind))

    def replicas(self) -> list[Path]:
        """Return the files of its one HDFS block, one on each DataNode."""
        size = self.block.path.stat().st_size
        return sorted(path for path in blocks(self.cluster) - self.earlier if path.stat().st_size == size)


def blocks(cluster: Cluster) -> set[Path]:
    return {path for path in cluster.folder.glob("data/datanode-*/**/finalized/**/blk_*") if path.suffix != ".meta"}


@pytest.fixture(scope="module")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """HDFS alone, whose DataNodes may be killed."""
    started = start_cluster(tmp_path_factory.mktemp("hdfs"), "--regionservers", "0")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def spark_block(tmp_path_factory: pytest.TempPathFactory) -> Block:
    path = tmp_path_factory.mktemp("spark") / "block.parquet"
    write_blocks([SparkBlock(path, ztf_alerts(ROWS, 60))])
    return load(path)


@pytest.fixture
def put(spark_block: Block) -> Iterator[Callable[[Cluster], OnHdfs]]:
    """Put the block on a cluster, under a name of its own."""
    placed: list[OnHdfs] = []

    def put(cluster: Cluster) -> OnHdfs:
        client, earlier = hdfs_native.Client(cluster.hdfs), blocks(cluster)
        path = f"/blocks-{uuid.uuid4().hex}/part-00000.parquet"
        client.mkdirs(path.rpartition("/")[0], 0o755, create_parent=True)
        with client.create(path) as writer:
            writer.write(spark_block.path.read_bytes())
        placed.append(OnHdfs(cluster, spark_block, cluster.hdfs + path, earlier))
        return placed[-1]

    yield put
    for one in placed:
        hdfs_native.Client(one.cluster.hdfs).delete(one.uri.removeprefix(one.cluster.hdfs).rpartition("/")[0], recursive=True)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def middle_of(block: Block, leaf: str) -> int:
    """Return the offset of a byte in the second page of a column."""
    metadata = pq.read_metadata(block.path)
    chunks = (metadata.row_group(0).column(place) for place in range(metadata.num_columns))
    (chunk,) = [chunk for chunk in chunks if chunk.path_in_schema == leaf]
    return int(chunk.data_page_offset + chunk.total_compressed_size * 0.6)


def test_stamps_come_from_hdfs_as_pyarrow_reads_them(hdfs: Cluster, put: Any) -> None:
    held = put(hdfs)
    cutouts = held.reader()
    held.check(cutouts, [77], ("Science",))
    held.check(cutouts, some_rows(60, ROWS))
    held.check(held.reader(), list(range(ROWS)))


def test_bytes_read_are_the_pages(hdfs: Cluster, put: Any) -> None:
    held = put(hdfs)
    cutouts = held.reader()
    cold = held.block.read(cutouts, [120], ["Science"], path=held.uri).bytes_read
    warm = held.block.read(cutouts, [121], ["Science"], path=held.uri).bytes_read
    assert warm < cold < 2_000_000
    assert warm < 1_600_000, "one page of 100 rows"


def test_a_damaged_replica_is_read_from_the_other_one(hdfs: Cluster, put: Any) -> None:
    held = put(hdfs)
    wait_until(lambda: len(held.replicas()) == 2, "both DataNodes have the block")
    first, second = held.replicas()
    place = middle_of(held.block, "cutoutScience.stampData")
    flip(first, place)
    for _ in range(6):  # whichever replica is asked first
        held.check(held.reader(), list(range(ROWS)))
    flip(second, place)
    stamps = held.block.read(held.reader(), list(range(ROWS)), path=held.uri)
    assert {one.reason for one in stamps.failures} == {"block_damaged"}
    assert {one.kind for one in stamps.failures} == {"Science"}
    assert [one.row for one in stamps.failures] == list(range(100, 200)), "the second page, and no other"
    for kind in KINDS:
        lost = {one.row for one in stamps.failures if one.kind == kind}
        expected = [None if row in lost else value for row, value in enumerate(held.block.stamps[kind].to_pylist())]
        assert stamps.kinds[kind].to_pylist() == expected
    flip(first, place)
    held.check(held.reader(), list(range(ROWS)))


def test_a_block_that_is_gone_and_one_that_is_a_folder(hdfs: Cluster, put: Any) -> None:
    held = put(hdfs)
    folder = held.uri.rpartition("/")[0]
    for path in (f"{folder}/absent.parquet", folder):
        stamps = held.block.read(held.reader(), [0], ["Science"], path=path)
        assert [one.reason for one in stamps.failures] == ["block_missing"]
    cutouts = held.reader()
    held.check(cutouts, [0])
    hdfs_native.Client(hdfs.hdfs).rename(
        held.uri.removeprefix(hdfs.hdfs), held.uri.removeprefix(hdfs.hdfs) + ".moved", overwrite=False
    )
    stamps = held.block.read(cutouts, [0], ["Science"], path=held.uri)
    assert [one.reason for one in stamps.failures] == ["block_missing"], "what was cached of it does not make it be there"


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "hdfs://127.0.0.1:1/etc/passwd", "{folder}/../other/x", "file:///etc/passwd", "{folder}-b/x", "blocks"],
)
def test_a_path_outside_of_the_roots_is_refused(hdfs: Cluster, put: Any, path: str) -> None:
    held = put(hdfs)
    folder = held.uri.removeprefix(hdfs.hdfs).rpartition("/")[0]
    cutouts = held.reader(roots=[folder])
    held.check(cutouts, [0])
    with pytest.raises(CorruptData, match=r"outside of the folders in hdfs\.roots"):
        held.block.read(cutouts, [0], ["Science"], path=path.format(folder=folder))


def test_an_hdfs_that_does_not_answer_is_no_damage(spark_block: Block) -> None:
    cutouts = BlockCutouts(HdfsFiles("hdfs://127.0.0.1:1"))
    with pytest.raises(BackendLost) as caught:
        spark_block.read(cutouts, [0], ["Science"], path="hdfs://127.0.0.1:1/x.parquet")
    assert "the NameNode of HDFS at 127.0.0.1:1 does not answer" in caught.value.message


def test_a_datanode_that_dies_while_its_blocks_are_read_changes_nothing(hdfs: Cluster, put: Any) -> None:
    held = put(hdfs)
    wait_until(lambda: len(held.replicas()) == 2, "both DataNodes have the block")
    cutouts = held.reader()
    rows = list(range(ROWS))
    done = threading.Event()
    failed: list[BaseException] = []
    counted = [0]

    def read() -> None:
        while not done.is_set():
            try:
                held.check(cutouts, rows)
            except BaseException as error:
                failed.append(error)
                return
            counted[0] += 1

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        wait_until(lambda: counted[0] >= 3 or failed, "blocks are read")
        hdfs.kill("datanode-1")
        before = counted[0]
        wait_until(lambda: counted[0] >= before + 6 or failed, "blocks are read on")
    finally:
        done.set()
        for reader in readers:
            reader.join()
        hdfs.up()
    assert failed == []
    held.check(held.reader(), rows)


def test_no_datanode_at_all_is_lost_not_damaged(hdfs: Cluster, put: Any) -> None:
    held = put(hdfs)
    cutouts = held.reader()
    held.check(cutouts, [0], ("Science",))
    hdfs.kill("datanode-1")
    hdfs.kill("datanode-2")
    try:
        with pytest.raises(BackendLost, match="no DataNode of HDFS returns the block"):
            held.block.read(cutouts, [150], ["Template"], path=held.uri)
    finally:
        hdfs.up()
    held.check(held.reader(), [150])
