"""Writes simulated alerts to files that pass through the ordinary ingest."""

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

FILE_ALERTS = {True: 3_000, False: 50_000}  # with stamps and without: about what a broker's file has
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
    """Write simulated ZTF alerts as the broker writes real ones: a folder a night, one row group a file.

    Parameters
    ----------
    out
        The folder to write to; `year=YYYY/month=MM/day=DD/` is made in it.
    objects, alerts_each, nights
        How many objects, alerts of each, and nights to spread them over.
    seed
        The same seed and arguments give the same files.
    named
        Further objects by name, with the number of their alerts.
    stamps
        Whether alerts have stamps, drawn from turned and mirrored real ones.
    avro
        Whether to write Avro in place of Parquet.
    like
        A Parquet file of real alerts to replicate in place of the packaged one.
    progress
        Called with the number of alerts written since the last call.

    Returns
    -------
    alerts
        How many were written.
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
