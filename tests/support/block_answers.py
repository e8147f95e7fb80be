"""Cutouts of whole blocks read by pyarrow, to compare with the page reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flight_server.catalog.declarations import BlockLayout
from flight_server.storage.blocks import BlockCutouts, LocalFiles
from flight_server.storage.protocols import Stamps

KINDS = ("Science", "Template", "Difference")
ZTF = BlockLayout(object_id="objectId", alert_id="candid", stamps={kind: f"cutout{kind}.stampData" for kind in KINDS})
RUBIN = BlockLayout(alert_id="diaSource.diaSourceId", stamps={kind: f"cutout{kind}" for kind in KINDS})
RUBIN_FLAT = BlockLayout(alert_id="diaSourceId", stamps=RUBIN.stamps)


@dataclass(frozen=True)
class Block:
    """The alerts and cutouts of a block, n rows each."""

    path: Path
    layout: BlockLayout
    object_ids: pa.Array
    alert_ids: pa.Array
    stamps: dict[str, pa.Array]

    def expected(self, rows: Sequence[int], kind: str) -> pa.Array:
        return self.stamps[kind].take(pa.array(rows))

    def read(self, cutouts: BlockCutouts, rows: Sequence[int], kinds: Sequence[str] = KINDS, path: str | None = None) -> Stamps:
        chosen = pa.array(rows)
        paths = pa.array([path or str(self.path)] * len(rows), pa.string())
        return cutouts.read(self.layout, paths, self.object_ids.take(chosen), self.alert_ids.take(chosen), kinds)

    def check(self, cutouts: BlockCutouts, rows: Sequence[int], kinds: Sequence[str] = KINDS) -> Stamps:
        """Read rows and check that they equal those of pyarrow."""
        stamps = self.read(cutouts, rows, kinds)
        assert stamps.failures == ()
        for kind in kinds:
            assert stamps.kinds[kind].equals(self.expected(rows, kind)), kind
        return stamps


def load(path: Path) -> Block:
    """Read a whole block; its columns determine the layout."""
    table = pq.ParquetFile(path).read()
    names = set(pq.read_schema(path).names)
    stamps = {kind: table[f"cutout{kind}"].combine_chunks() for kind in KINDS}
    if "objectId" in names:
        plain = {kind: pc.struct_field(cells, "stampData").cast(pa.binary()) for kind, cells in stamps.items()}
        alert_ids = table["candid"].combine_chunks().cast(pa.int64())
        return Block(path, ZTF, table["objectId"].combine_chunks().cast(pa.string()), alert_ids, plain)
    nested = "diaSource" in names
    alert_ids = (
        pc.struct_field(table["diaSource"].combine_chunks(), "diaSourceId") if nested else table["diaSourceId"].combine_chunks()
    )
    plain = {kind: cells.cast(pa.binary()) for kind, cells in stamps.items()}
    return Block(path, RUBIN if nested else RUBIN_FLAT, alert_ids.cast(pa.string()), alert_ids.cast(pa.int64()), plain)


def reader(path: Path) -> BlockCutouts:
    """Return a new reader with empty caches."""
    return BlockCutouts(LocalFiles(path.parent))


def some_rows(count: int, of: int, seed: int = 0) -> list[int]:
    """Return row indices in no order, some of them twice."""
    rows: list[int] = np.random.default_rng(seed).integers(0, of, count).tolist()
    return rows
