"""The works of the benchmark, and the readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import hdfs_native
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from click import ClickException
from measure import quartiles, rounds, timed

from cutouts.filling import Alerts, Held
from cutouts.reference import WAYS, Way, bytes_of, read_table
from flight_server.catalog.declarations import BlockLayout
from flight_server.storage.blocks import BlockCutouts, HdfsFiles
from flight_server.storage.protocols import Stamps

__all__ = ["KINDS", "Ours", "Reference", "Work", "check", "works"]

KINDS = ("Science", "Template", "Difference")
LAYOUT = BlockLayout(object_id="objectId", alert_id="candid", stamps={kind: f"cutout{kind}.stampData" for kind in KINDS})
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of request.

    Parameters
    ----------
    name
        What is read.
    blocks, alerts, kinds
        The numbers of blocks and alerts, and the kinds of cutouts.
    indexed
        Whether the blocks have offset indexes.
    share
        The number of repetitions, relative to that of the shortest work.
    cold_faster, warm_faster
        The goals: speed relative to the reference.
    most_bytes
        The goal of a cold read.
    """

    name: str
    blocks: int
    alerts: int
    kinds: Sequence[str]
    indexed: bool = True
    share: float = 1.0
    cold_faster: float | None = None
    warm_faster: float | None = None
    most_bytes: int | None = None

    def requests(self, held: Held, count: int) -> list[Alerts]:
        """Draw the requests, the same in every run."""
        random = np.random.default_rng(11)
        return [held.some(random, self.blocks, self.alerts) for _ in range(count)]


def works() -> list[Work]:
    """Return all works."""
    many = "1,000 alerts x 1 kind, 10 blocks"
    return [
        Work("one cutout", 1, 1, KINDS[:1], cold_faster=8, warm_faster=20, most_bytes=2 * MB),
        Work("three kinds of one alert", 1, 1, KINDS, share=0.5, most_bytes=5 * MB),
        Work("14 alerts x 3 kinds, 14 blocks", 14, 14, KINDS, share=0.15, cold_faster=10, warm_faster=20),
        Work(many, 10, 1000, KINDS[:1], share=0.25, cold_faster=5, warm_faster=5),
        Work("one cutout, no offset index", 1, 1, KINDS[:1], indexed=False, cold_faster=1, warm_faster=1),
        Work(f"{many}, no offset index", 10, 1000, KINDS[:1], indexed=False, share=0.25, cold_faster=1, warm_faster=1),
    ]


@dataclass(slots=True)
class Ours:
    """Our reader; its caches are filled by the first warm read."""

    url: str
    kinds: Sequence[str]
    cold_bytes: list[int] = field(default_factory=list)
    warm_bytes: list[int] = field(default_factory=list)
    _kept: BlockCutouts | None = None

    def read(self, alerts: Alerts, cutouts: BlockCutouts) -> Stamps:
        """Read the cutouts of alerts."""
        return cutouts.read(LAYOUT, alerts.paths, alerts.object_ids, alerts.alert_ids, self.kinds)

    def new(self) -> BlockCutouts:
        """Return a new reader, with its own connection and empty caches."""
        return BlockCutouts(HdfsFiles(self.url, roots=("/",), rewrite={}))

    def cold(self, alerts: Alerts) -> float:
        """Read with a new reader; return the time in ms."""
        return timed(lambda: self.cold_bytes.append(self.read(alerts, self.new()).bytes_read))

    def warm(self, alerts: Alerts) -> float:
        """Read with the one that is kept; return the time in ms."""
        kept = self._kept = self._kept or self.new()
        return timed(lambda: self.warm_bytes.append(self.read(alerts, kept).bytes_read))


@dataclass(slots=True)
class Reference:
    """pyarrow's reader."""

    url: str
    kinds: Sequence[str]
    way: Way = field(default_factory=Way)
    _kept: hdfs_native.Client | None = None

    def cold(self, alerts: Alerts) -> float:
        """Read with a new client; return the time in ms."""
        return timed(lambda: read_table(hdfs_native.Client(self.url), alerts, self.kinds, self.way))

    def warm(self, alerts: Alerts) -> float:
        """Read with a client that is kept; return the time in ms."""
        return self._by(alerts, self.way)

    def bytes_read(self, alerts: Alerts) -> int:
        """Return the number of bytes of a read."""
        return bytes_of(hdfs_native.Client(self.url), alerts, self.kinds, self.way)

    def choose(self, requests: Sequence[Alerts]) -> None:
        """Choose the way with the lowest lower quartile, since other load only adds time."""
        sides = [lambda alerts, way=way: self._by(alerts, way) for way in WAYS]
        times = rounds(requests, sides, warm=1)
        self.way = WAYS[int(np.argmin([quartiles(side)[0] for side in times]))]

    def _by(self, alerts: Alerts, way: Way) -> float:
        kept = self._kept = self._kept or hdfs_native.Client(self.url)
        return timed(lambda: read_table(kept, alerts, self.kinds, way))


def check(work: Work, ours: Ours, reference: Reference, alerts: Alerts) -> None:
    """Check that both read the same cutouts."""
    stamps = ours.read(alerts, ours.new())
    rows = read_table(hdfs_native.Client(reference.url), alerts, work.kinds, reference.way)
    rows = rows.take(pc.index_in(alerts.alert_ids, value_set=rows["candid"].combine_chunks()))
    for kind in work.kinds:
        wanted = pc.struct_field(rows[f"cutout{kind}"].combine_chunks(), "stampData")
        found = stamps.kinds[kind]
        if isinstance(wanted, pa.ChunkedArray):
            wanted = wanted.combine_chunks()
        if not found.cast(pa.binary()).equals(wanted) or found.null_count:
            raise ClickException(f"{work.name}: the cutouts of kind {kind} differ from those of pyarrow")
