"""Writing of tables to Parquet files with Spark's writer: one Java process for all of them."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hbase_cluster.artifacts import find_jars, find_java, move

__all__ = ["Block", "BlockFault", "Writing", "write_blocks"]

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "Rewrite.java"
FLAGS = ["-Xmx2g", "-XX:+UseSerialGC", "-XX:-UsePerfData"]


class BlockFault(Exception):
    """The Java program could not be compiled or did not write."""


@dataclass(frozen=True, slots=True)
class Writing:
    """The options of a file; other ones are the defaults of Spark.

    Parameters
    ----------
    codec
        `snappy`, `zstd`, `gzip` or `uncompressed`.
    version
        The version of the data pages: `v1` or `v2`.
    dictionary
        Whether columns begin with dictionaries, as long as these are small.
    row_group_bytes, page_bytes
        The largest size of each.
    checksums
        Whether pages have checksums.
    """

    codec: str = "snappy"
    version: str = "v1"
    dictionary: bool = True
    row_group_bytes: int = 128 << 20
    page_bytes: int = 1 << 20
    checksums: bool = True

    @property
    def words(self) -> list[str]:
        """The arguments of Rewrite.java."""
        numbers = [str(self.row_group_bytes), str(self.page_bytes)]
        return [self.codec, self.version, str(self.dictionary).lower(), *numbers, str(self.checksums).lower()]


@dataclass(frozen=True, slots=True)
class Block:
    """A file to be written; replaces an existing one."""

    path: Path
    rows: pa.Table
    writing: Writing = Writing()


def write_blocks(blocks: Iterable[Block]) -> list[Path]:
    """Write files; return their paths. Blocks are consumed one by one, so they need not all be in memory.

    Raises
    ------
    BlockFault
        Java failed; the message has its output.
    """
    with tempfile.TemporaryDirectory(prefix="alertflight-blocks-") as folder:
        jobs, paths = [], []
        for number, block in enumerate(blocks):
            source = Path(folder) / f"{number}.parquet"
            # Spark's times are INT96
            pq.write_table(block.rows, source, compression="none", use_deprecated_int96_timestamps=True)
            jobs.append("\t".join([str(source), str(block.path.resolve()), *block.writing.words]) + "\n")
            paths.append(block.path)
        lib = find_jars("spark-blocks", HERE / "pom.xml")
        command = [find_java(), *FLAGS, "-cp", f"{_classes(lib)}:{lib}/*", "Rewrite"]
        _run(command, "".join(jobs))
    return paths


def _classes(lib: Path) -> Path:
    """Find the compiled program, or compile it."""
    place = lib.parent / f"classes-{hashlib.sha256(PROGRAM.read_bytes()).hexdigest()[:12]}"
    if not place.is_dir():
        with tempfile.TemporaryDirectory(dir=lib.parent, prefix="compiling-") as made:
            words = ["-cp", ":".join(map(str, lib.glob("*.jar"))), "-d", f"{made}/classes", str(PROGRAM)]
            _run([find_java(), "-m", "jdk.compiler/com.sun.tools.javac.Main", *words])
            move(Path(made) / "classes", place)
    return place


def _run(command: list[str], given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
    if done.returncode:
        raise BlockFault("\n".join((done.stdout + done.stderr).splitlines()[:20]))
