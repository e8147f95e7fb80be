"""Simulated alerts: rows of real ones with replaced identity, position, time and brightness."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.simulate.sky import FIRST_NIGHT_JD, Sky

__all__ = ["KINDS", "make_alerts"]

KINDS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
FIRST_CANDID = 1_826_000_000_000_000_000
SCATTER_DEG = 5e-5  # about 0.2 arcsec, the scatter of ZTF positions
HISTORY_POINTS = 2


def make_alerts(
    sky: Sky, chosen: slice, template: pa.Table, stamps: Mapping[str, pa.Array], random: np.random.Generator
) -> pa.Table:
    """Return simulated alerts for a selection of the alerts of a sky.

    Parameters
    ----------
    sky
        The objects and times.
    chosen
        The indices of the alerts in the sky.
    template
        Real alerts.
    stamps
        Cutouts to draw from, by target column; without any, alerts have none.
    random
        The random generator.
    """
    owner, jd = sky.owner[chosen], sky.jd[chosen]
    count = len(owner)
    source = random.integers(0, len(template), count)
    objects = pa.array(owner)
    candid = FIRST_CANDID + np.arange(chosen.start, chosen.stop)
    error = random.uniform(0.01, 0.3, count).astype(np.float32)
    replaced = {
        "jd": jd,
        "candid": candid,
        "fid": sky.fid[chosen],
        "ra": (sky.ra[owner] + random.normal(0, SCATTER_DEG, count)) % 360.0,
        "dec": np.clip(sky.dec[owner] + random.normal(0, SCATTER_DEG, count), -90, 90),
        "magpsf": (sky.magnitude[owner] + random.normal(0, 0.3, count)).astype(np.float32),
        "sigmapsf": error,
        "jdstarthist": np.full(count, FIRST_NIGHT_JD),
        "jdendhist": jd,
        "nid": (sky.night[chosen] + 1826).astype(np.int32),
    }
    rows = pa.array(source)
    columns: dict[str, pa.Array] = {}
    for field in template.schema:
        if field.name == "objectId":
            columns[field.name] = sky.names.take(objects)
        elif field.name == "candid":
            columns[field.name] = pa.array(candid)
        elif field.name == "cdsxmatch":
            columns[field.name] = sky.kind.take(objects)
        elif field.name == "candidate":
            columns[field.name] = _candidates(_array(template, field.name), rows, replaced)
        elif field.name == "prv_candidates":
            columns[field.name] = _histories(_array(template, field.name), rows, jd)
        elif field.name in KINDS:
            columns[field.name] = _stamps(field.type, stamps.get(field.name), count, random)
        else:
            columns[field.name] = _array(template, field.name).take(rows)
    return pa.Table.from_arrays(list(columns.values()), schema=template.schema)


def _candidates(real: pa.StructArray, rows: pa.Array, replaced: Mapping[str, npt.NDArray[np.generic]]) -> pa.StructArray:
    fields = [
        pa.array(replaced[field.name]).cast(field.type) if field.name in replaced else real.field(field.name).take(rows)
        for field in real.type
    ]
    return pa.StructArray.from_arrays(fields, fields=list(real.type))


def _histories(real: pa.ListArray, rows: pa.Array, jd: npt.NDArray[np.float64]) -> pa.ListArray:
    """Return the last points of real histories, shifted in time to end before each alert."""
    starts, ends = (real.offsets.to_numpy()[at:][: len(real)] for at in (0, 1))
    source = rows.to_numpy()
    sizes = np.minimum(ends - starts, HISTORY_POINTS)[source]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    turn = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    points = real.values.take(pa.array(np.repeat(ends[source] - sizes, sizes) + turn))
    # shifts by whole days keep the time of day, so the times of an object's points stay distinct
    moved = np.round(np.repeat(jd, sizes) - (np.repeat(sizes, sizes) - turn), 7)
    place = points.type.get_field_index("jd")
    fields = points.flatten()
    fields[place] = pa.array(moved)
    values = pa.StructArray.from_arrays(fields, fields=list(points.type))
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=real.type)


def _stamps(kind: pa.StructType, pool: pa.Array | None, count: int, random: np.random.Generator) -> pa.Array:
    if pool is None:
        return pa.nulls(count, kind)
    drawn = pool.take(pa.array(random.integers(0, len(pool), count)))
    names = pa.array(["stamp.fits.gz"]).take(pa.array(np.zeros(count, dtype=np.int64)))
    cells = [drawn if field.name == "stampData" else names for field in kind]
    return pa.StructArray.from_arrays(cells, fields=list(kind))


def _array(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()
