"""Small stores whose objects move, change and arrive between the pages of an answer."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from archives import Opened, open_embedded

from flight_server.catalog.catalog import load_catalog
from flight_server.storage.protocols import VERSION

CENTRE = (150.0, 20.0)
CLASSES = ("SN candidate", "SN", "SN_candidate")  # the key of one begins with another
# texts of several lengths, some of which begin with others
TIMES = [2459600.0 + day + part for day in (0.0, 1.0) for part in (0.0, 0.05, 0.5, 0.51, 0.512, 0.5125, 0.6, 0.9999999)]
ABSURD = [9.5, 99999.5, 100000.25, 12345678.5, -5.25, 1.5e300]
TABLES = {
    "ztf": ("i:objectId", "i:jd", "i:candid", "i:magpsf", "i:jdstarthist"),
    "ztf.pixel128": ("i:objectId", "i:candid", "i:jd", "i:jdstarthist", "i:ra", "i:dec", "i:magpsf"),
    "ztf.class": ("d:classification", "i:jd", "i:objectId", "i:candid", "i:magpsf"),
    "ztf.anomaly": ("i:objectId", "i:jd", "i:candid", "i:magpsf"),
    "ztf.tracklet": ("d:tracklet", "i:objectId", "i:jd", "i:candid", "i:magpsf"),
}


class World:
    """A store, and a source of alerts for it.

    Parameters
    ----------
    folder
        The store's folder.
    seed
        Of the random alerts.
    objects
        The number of different objects.
    """

    def __init__(self, folder: Path, seed: int, objects: int = 25) -> None:
        self.opened: Opened = open_embedded(folder)
        self.random = random.Random(seed)
        self._names = [f"ZTF22a{number:04d}" for number in range(objects)]
        self._begun: dict[str, float] = {}
        self._candids: dict[tuple[str, float], int] = {}  # an exposure has one alert of an object

    def ingest(self, alerts: int, tables: Collection[str] = tuple(TABLES)) -> None:
        """Write the rows of some alerts, of new objects and of those that are there, in one ingest."""
        catalog = load_catalog().with_stored(self.opened.store.view().columns)
        rows = [self._alert() for _ in range(alerts)]
        with self.opened.store.writing() as writer:
            parts = []
            for name in tables:
                columns = TABLES[name]
                table, known = catalog.table(name), catalog.known["ztf"]
                cells: dict[str, Any] = {
                    column: pa.array([row[column] for row in rows], known[column].type) for column in columns
                }
                parts.append((table, pa.table(cells | {VERSION: [f"{number:06d}" for number in range(alerts)]})))
            writer.write(parts, pa.table({}))
            writer.commit(1, alerts)

    def shuffled(self, values: Sequence[Any]) -> list[Any]:
        """Return values in random order."""
        return self.random.sample(list(values), len(values))

    def _alert(self) -> dict[str, Any]:
        name = self.random.choice(self._names)
        time = self.random.choice([*TIMES, *(time + 20 for time in TIMES), *ABSURD])
        return {
            "i:objectId": name,
            "i:jd": time,
            "i:candid": self._candids.setdefault((name, time), len(self._candids)),
            "i:magpsf": self.random.uniform(15, 20),
            "i:jdstarthist": self._begun.setdefault(name, self.random.choice(TIMES)),
            # from one pixel into the next, and over the edge of a cone
            "i:ra": CENTRE[0] + self.random.uniform(-0.6, 0.6),
            "i:dec": CENTRE[1] + self.random.uniform(-0.6, 0.6),
            "d:classification": self.random.choice(CLASSES),
            "d:tracklet": f"TRCK_2022{self.random.randrange(3)}",
        }
