"""Writing of simulated alerts to files for the ordinary ingest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flight_server.simulate.alerts import KINDS, make_alerts
from flight_server.simulate.avro_schema import avro_schema
from flight_server.simulate.sky import FIRST_NIGHT_JD, make_sky
from flight_server.simulate.templates import load_template, stamp_variants

__all__ = ["simulate"]

FILE_ALERTS = {True: 3_000, False: 50_000}  # with and without cutouts: about as many as in broker files
EPOCH_JD = 2_440_587.5


def simulate(
    out: Path,
    *,
    objects: int,
    nights: int,
    seed: int,
    alerts_each: int = 25,
    named: dict[str, int] | None = None,
    stamps: bool = False,
    avro: bool = False,
    like: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write simulated ZTF alerts in the broker's layout: one folder per night, one row group per file.

    Parameters
    ----------
    out
        The output folder; `year=YYYY/month=MM/day=DD/` is created in it.
    objects, alerts_each, nights
        The number of objects, of alerts per object, and of nights over which they are spread.
    seed
        The random seed; the same seed and arguments yield the same files.
    named
        Additional objects by name, with the number of their alerts.
    stamps
        Whether alerts have cutouts, drawn from rotated and mirrored real ones.
    avro
        Whether to write Avro instead of Parquet.
    like
        A Parquet file of real alerts to replicate instead of the packaged one.
    progress
        Called with the number of alerts written since the last call.

    Returns
    -------
    alerts
        The number of alerts written.
    """
    template = load_template(like)
    random = np.random.default_rng(seed)
    sky = make_sky(objects, alerts_each, named or {}, nights, random)
    pools = {name: pa.array(stamp_variants(_held(template, name))) for name in KINDS} if stamps else {}
    bounds = np.searchsorted(sky.night, np.arange(nights + 1))
    for night in range(nights):
        folder = _folder(out, night)
        for part, first in enumerate(range(bounds[night], bounds[night + 1], FILE_ALERTS[stamps])):
            chosen = slice(int(first), int(min(first + FILE_ALERTS[stamps], bounds[night + 1])))
            alerts = make_alerts(sky, chosen, template, pools, random)
            folder.mkdir(parents=True, exist_ok=True)
            (_write_avro if avro else _write_parquet)(folder / f"part-{part:05d}", alerts)
            progress(len(alerts))
    return len(sky.jd)


def _folder(out: Path, night: int) -> Path:
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=FIRST_NIGHT_JD - EPOCH_JD + night)
    return out / f"year={day.year}" / f"month={day.month:02d}" / f"day={day.day:02d}"


def _write_parquet(stem: Path, alerts: pa.Table) -> None:
    pq.write_table(
        alerts,
        stem.with_name(stem.name + ".c000.snappy.parquet"),
        row_group_size=len(alerts),
        compression="snappy",
        write_page_index=True,
        use_dictionary=True,
    )


def _write_avro(stem: Path, alerts: pa.Table) -> None:
    with stem.with_name(stem.name + ".avro").open("wb") as sink:
        rows = alerts.to_pylist(maps_as_pydicts="strict")
        fastavro.writer(sink, fastavro.parse_schema(avro_schema(alerts.schema)), rows, codec="snappy", sync_marker=b"0" * 16)


def _held(template: pa.Table, name: str) -> list[bytes]:
    return [stamp["stampData"] for stamp in template[name].to_pylist() if stamp and stamp["stampData"]]
