"""The measured rows: simulated alerts, ingested by the ordinary commands, spread over the regions."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from store import run

from hbase.clusters import Cluster
from hbase.jvm import RawScanner

__all__ = ["FILLING", "PREFIX", "TABLE", "Filling", "Region", "fill", "ingest_alerts"]

PREFIX = "bench_"
TABLE = "bench_ztf"
LETTERS = 7


@dataclass(frozen=True, slots=True)
class Region:
    """A region of the measured table, sizes in MB."""

    start: str
    stop: str
    server: str
    files: int
    megabytes: float
    uncompressed: float


@dataclass(frozen=True, slots=True)
class Filling:
    """The content of the table.

    Parameters
    ----------
    years
        The years in the names of the objects; the table is split at ZTF19, ZTF21 and ZTF23.
    objects
        The number of objects per year.
    alerts
        The number of alerts per object.
    long_object, long_alerts
        An additional object with many alerts.
    nights, seed
        As in `alertflight simulate`.
    """

    years: tuple[int, ...] = (18, 20, 22, 24)
    objects: int = 450
    alerts: int = 33
    long_object: str = "ZTF20zzzzzzz"
    long_alerts: int = 1575
    nights: int = 30
    seed: int = 5

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.years) * self.objects * self.alerts + self.long_alerts

    def names(self, year: int) -> list[str]:
        """Return the names of the objects of a year."""
        digits = np.arange(self.objects)[:, None] // 26 ** np.arange(LETTERS - 1, -1, -1) % 26
        return [f"ZTF{year}" + "".join(chr(ord("a") + digit) for digit in row) for row in digits.tolist()]

    def some(self, random: np.random.Generator, count: int) -> list[str]:
        """Draw distinct objects, equally many of each year, in random order."""
        each = [random.choice(self.names(year), count // len(self.years), replace=False).tolist() for year in self.years]
        drawn: list[str] = random.permutation(np.concatenate(each)).tolist()
        return drawn


FILLING = Filling()


def fill(cluster: Cluster, raw: RawScanner, filling: Filling = FILLING, prefix: str = PREFIX) -> tuple[Path, list[Region]]:
    """Ingest the rows, unless they exist; return the settings to serve them, and the regions of the alert table."""
    settings = cluster.settings(prefix)
    stamp = cluster.folder / f"{prefix.rstrip('_')}-filled.json"
    wanted = json.dumps(asdict(filling))
    if not (stamp.exists() and stamp.read_text() == wanted):
        stamp.unlink(missing_ok=True)
        raw.ask("drop", prefix=prefix)
        click.echo(f"putting {filling.rows} rows into {prefix}ztf (some minutes) ...", err=True)
        ingest_alerts(settings, cluster.folder, filling)
    regions = [Region(**words) for words in raw.ask("settle", table=f"{prefix}ztf")]
    stamp.write_text(wanted)
    return settings, regions


def ingest_alerts(settings: Path, work: Path, filling: Filling) -> tuple[str, float]:
    """Simulate alerts and ingest them with one command; return its output and its duration in s."""
    with TemporaryDirectory(prefix="alerts-", dir=work) as alerts:
        named = [(name, filling.alerts) for year in filling.years for name in filling.names(year)]
        named += [(filling.long_object, filling.long_alerts)] if filling.long_alerts else []
        words = [word for name, count in named for word in ("--name", f"{name}:{count}")]
        run("simulate", "--objects", 0, "--nights", filling.nights, "--seed", filling.seed, "--out", alerts, *words)
        begun = time.perf_counter()
        said = run("ingest", alerts, "--config", settings)
        return said, time.perf_counter() - begun
