"""The measured blocks: simulated alerts, written by Spark's and by pyarrow's writer, stored on HDFS."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import hdfs_native
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.append(str(Path(__file__).resolve().parents[2]))  # scripts/ is not a package

from hbase.clusters import Cluster
from spark_blocks import Block, write_blocks, ztf_alerts

__all__ = ["Alerts", "Filling", "Held", "fill"]

FOLDER = "/bench-cutouts"
STAMP = "bench-cutouts.json"
AT_ONCE = 7  # blocks per Java process, which bounds the temporary disk space
CHUNK = 8 << 20


@dataclass(frozen=True, slots=True)
class Filling:
    """The blocks on HDFS.

    Parameters
    ----------
    indexed
        The number of blocks of Spark's writer, with offset indexes.
    plain
        The number of blocks of pyarrow's writer, without.
    alerts
        The number of alerts per block.
    """

    indexed: int = 14
    plain: int = 10
    alerts: int = 3000


@dataclass(frozen=True, slots=True)
class Alerts:
    """Alerts and their blocks; one entry per alert."""

    paths: pa.StringArray
    object_ids: pa.StringArray
    alert_ids: pa.Int64Array


@dataclass(frozen=True, slots=True)
class Held:
    """The blocks of one writer.

    Parameters
    ----------
    url
        The name node.
    paths
        The paths of the blocks.
    ids
        The object ID and the candid of each row of each.
    """

    url: str
    paths: Sequence[str]
    ids: Sequence[pa.Table]

    def some(self, random: np.random.Generator, blocks: int, count: int) -> Alerts:
        """Draw distinct alerts, equally many from each of `blocks` blocks, in random order."""
        chosen = random.choice(len(self.paths), blocks, replace=False)
        drawn = [self.ids[block].take(random.choice(len(self.ids[block]), count // blocks, replace=False)) for block in chosen]
        paths = np.repeat([self.url + self.paths[block] for block in chosen], count // blocks)
        order = random.permutation(count)
        rows = pa.concat_tables(drawn).take(order).combine_chunks()
        return Alerts(pa.array(paths[order]), rows["objectId"].chunk(0), rows["candid"].chunk(0))


def fill(cluster: Cluster, filling: Filling) -> tuple[Held, Held]:
    """Write the blocks to HDFS, unless they exist; return those with offset indexes and those without."""
    stamp = cluster.folder / STAMP
    wanted = json.dumps(asdict(filling))
    if not (stamp.exists() and stamp.read_text() == wanted):
        stamp.unlink(missing_ok=True)
        click.echo(f"putting {filling.indexed + filling.plain} blocks of {filling.alerts} alerts on HDFS (minutes) ...", err=True)
        _put(hdfs_native.Client(cluster.hdfs), filling, cluster.folder)
        stamp.write_text(wanted)
    return _held(cluster.hdfs, "indexed", filling.indexed), _held(cluster.hdfs, "plain", filling.plain)


def _put(client: hdfs_native.Client, filling: Filling, work: Path) -> None:
    client.delete(FOLDER, recursive=True)
    client.mkdirs(FOLDER, 0o755, create_parent=True)
    for begin in range(0, filling.indexed, AT_ONCE):
        with tempfile.TemporaryDirectory(prefix="blocks-", dir=work) as folder:
            numbers = range(begin, min(begin + AT_ONCE, filling.indexed))
            for path in write_blocks(_blocks(Path(folder), numbers, filling)):
                _copy(client, path)
    for number in range(filling.plain):
        with tempfile.TemporaryDirectory(prefix="blocks-", dir=work) as folder:
            path = Path(folder) / _name("plain", number)
            rows = _alerts(filling.indexed + number, filling)
            _write_plain(rows, path)
            _copy(client, path)


def _write_plain(rows: pa.Table, path: Path) -> None:
    """Write like older writers: pages as by Spark's writer, but without offset indexes."""
    pq.write_table(
        rows,
        path,
        row_group_size=len(rows),
        compression="snappy",
        use_dictionary=["objectId"],  # that of cutouts would be a third of their size
        write_batch_size=100,  # rows between checks whether a page is full
        use_deprecated_int96_timestamps=True,
    )


def _blocks(folder: Path, numbers: Sequence[int], filling: Filling) -> Iterator[Block]:
    for number in numbers:
        yield Block(folder / _name("indexed", number), _alerts(number, filling))


def _alerts(number: int, filling: Filling) -> pa.Table:
    return ztf_alerts(filling.alerts, first=number * filling.alerts)


def _name(kind: str, number: int) -> str:
    return f"{kind}-{number:05d}.c000.snappy.parquet"


def _copy(client: hdfs_native.Client, path: Path) -> None:
    click.echo(f"  {path.name}", err=True)
    options = hdfs_native.WriteOptions(overwrite=True)
    with path.open("rb") as source, client.create(f"{FOLDER}/{path.name}", options) as target:
        shutil.copyfileobj(source, target, CHUNK)


def _held(url: str, kind: str, count: int) -> Held:
    client = hdfs_native.Client(url)
    paths = [f"{FOLDER}/{_name(kind, number)}" for number in range(count)]
    ids = [pq.read_table(pa.PythonFile(client.read(path), mode="r"), columns=["objectId", "candid"]) for path in paths]
    return Held(url, paths, ids)
