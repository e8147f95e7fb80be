"""Writing of simulated alerts to files for the ordinary ingest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from alertflight_config import DEFAULT_SURVEY

from flight_server.catalog.declarations import load_surveys
from flight_server.simulate.alerts import make_alerts
from flight_server.simulate.avro_schema import avro_schema
from flight_server.simulate.recipes import Night, load_recipes
from flight_server.simulate.sky import make_sky
from flight_server.simulate.templates import held_stamps, load_template, stamp_variants

__all__ = ["simulate"]


def simulate(
    out: Path,
    *,
    survey: str = DEFAULT_SURVEY,
    objects: int,
    nights: int,
    seed: int,
    alerts_each: int = 25,
    named: dict[str, int] | None = None,
    stamps: bool = False,
    histories: bool = True,
    avro: bool = False,
    like: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write simulated alerts in the broker's layout: one folder per night, one row group per file.

    Parameters
    ----------
    out
        The output folder; `year=YYYY/month=MM/day=DD/` is created in it.
    survey
        The survey; config/simulated has the known ones.
    objects, alerts_each, nights
        The number of objects, of alerts per object, and of nights over which they are spread.
    seed
        The random seed; the same seed and arguments yield the same files.
    named
        Additional objects by name, with the number of their alerts.
    stamps
        Whether alerts have cutouts, drawn from rotated and mirrored real ones.
    histories
        Whether alerts have the histories of real ones.
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
    recipe = load_recipes()[survey]
    template = load_template(recipe, like)
    random = np.random.default_rng(seed)
    sky = make_sky(recipe, objects, alerts_each, named or {}, nights, random=random)
    paths = load_surveys()[survey].alerts.stamps.values()
    pools = {
        path.partition(".")[0]: pa.array(stamp_variants(held_stamps(template, path)) if stamps else [], pa.binary())
        for path in paths
        if path.partition(".")[0] in template.column_names
    }
    if not histories:
        template = _without(template, recipe.histories)
    most = recipe.file_alerts[0 if stamps else 1]
    bounds = np.searchsorted(sky.night, np.arange(nights + 1))
    for night in range(nights):
        folder = _folder(out, recipe.night, night)
        for part, first in enumerate(range(bounds[night], bounds[night + 1], most)):
            chosen = slice(int(first), int(min(first + most, bounds[night + 1])))
            alerts = make_alerts(recipe, sky, chosen, template, pools, random=random)
            folder.mkdir(parents=True, exist_ok=True)
            (_write_avro if avro else _write_parquet)(folder / f"part-{part:05d}", alerts)
            progress(len(alerts))
    return len(sky.time)


def _without(template: pa.Table, names: Iterable[str]) -> pa.Table:
    """Return alerts with empty histories."""
    for name in names:
        place = template.schema.get_field_index(name)
        if place >= 0:
            kind = template.schema.field(place).type
            template = template.set_column(place, template.schema.field(place), pa.array([[]] * len(template), kind))
    return template


def _folder(out: Path, nights: Night, number: int) -> Path:
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=nights.first - nights.epoch + number)
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
