"""The HBase part of `scripts/bench queries`: cones against the HBase client's own scan of the same pixels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import numpy as np
from measure import Line, line, rounds
from processes import configured_server
from questions import RADII, Place, Places, against_points, check, cone, read

from flight_server.catalog.catalog import load_catalog
from flight_server.execution.sky_pixels import cone_pixels, pixels_of
from hbase.clusters import cluster
from hbase.filling import Filling, fill
from hbase.jvm import RawScanner, Scanned, Way, compiled, java
from hbase.works import OBJECT, fastest

__all__ = ["ALERTS", "bench_hbase_queries"]

PREFIX = "queries_"
ALERTS = Filling(objects=2000, alerts=25, long_alerts=0)
INDEX, NSIDE = "ztf.pixel128", 128
SCAN_GOAL = 2.0
CHECKED = 3
WARM = 40


def bench_hbase_queries(folder: Path | None, repeat: int) -> Iterator[Line]:
    """Measure; yield lines as they are ready."""
    with compiled() as path, cluster(folder) as held, java(path, "Reference", held.zookeeper) as process:
        raw = RawScanner(process)
        settings, _ = fill(held, raw, ALERTS, PREFIX)
        for table in (INDEX, "ztf.class"):
            raw.ask("settle", table=PREFIX + table)
        with configured_server(settings) as served:
            places = Places(served)
            check(served, places.draw(CHECKED))
            columns = load_catalog().table(INDEX).columns or ()
            for name, radius in RADII.items():
                scan = partial(_scan, raw, columns, radius)
                _check_scan(places, scan, radius)
                way = fastest(OBJECT, places.draw(repeat // 2), lambda way, place, scan=scan: scan(way, place).ms)
                for table in (INDEX, "ztf"):
                    sides = [
                        lambda place, r=radius, t=table: read(served, cone(place, r, table=t)),
                        lambda place, scan=scan, way=way: scan(way, place).ms,
                    ]
                    times = rounds(places.draw(repeat), sides, warm=min(WARM, repeat))
                    goal = SCAN_GOAL if name == "5 arcsec" else None
                    title = f"hbase: cone of {name} in {table}, all columns"
                    click.echo(f"  {title}", err=True)
                    yield line(title, "raw scan of its pixels", (times[0], times[1]), goal, str(way))
            yield from against_points(served, places, "hbase", repeat, judged=False)


def _scan(raw: RawScanner, columns: tuple[str, ...], radius: float, way: Way, place: Place) -> Scanned:
    pixels = cone_pixels(place.ra, place.dec, radius / 3600, NSIDE).astype(str)
    ranges = [(f"{pixel}_", f"{pixel}`") for pixel in sorted(pixels.tolist())]
    return raw.scan(PREFIX + INDEX, ranges, columns, way)


def _check_scan(places: Places, scan: partial[Scanned], radius: float) -> None:
    """Check that the raw scanner reads all rows in the pixels."""
    rows = pixels_of(places.rows["i:ra"].to_numpy(), places.rows["i:dec"].to_numpy(), NSIDE)
    for place in places.draw(CHECKED):
        wanted = int(np.isin(rows, cone_pixels(place.ra, place.dec, radius / 3600, NSIDE)).sum())
        found = scan(Way(named=True), place).rows
        if found != wanted:
            raise click.ClickException(f"the raw scanner reads {found} rows about {place.name}, not {wanted}")
