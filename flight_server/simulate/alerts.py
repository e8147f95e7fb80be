"""Simulated alerts: rows of real ones with replaced identity, position, time and brightness."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.simulate.recipes import History, Recipe
from flight_server.simulate.sky import Sky

__all__ = ["make_alerts"]

SCATTER_DEG = 5e-5  # about 0.2 arcsec, the scatter of positions
ZERO_POINT = 31.4  # the AB magnitude of 1 nJy
PER_MAGNITUDE = np.log(10.0) / 2.5
Values = Mapping[str, pa.Array]


def make_alerts(
    recipe: Recipe,
    sky: Sky,
    chosen: slice,
    template: pa.Table,
    stamps: Mapping[str, pa.Array],
    *,
    random: np.random.Generator,
) -> pa.Table:
    """Return simulated alerts for a selection of the alerts of a sky.

    Parameters
    ----------
    recipe
        What is particular to the survey.
    sky
        The objects and times.
    chosen
        The indices of the alerts in the sky.
    template
        Real alerts.
    stamps
        Cutouts to draw from, by target column, with null for those that alerts are to have none of.
    random
        The random generator.
    """
    owner = sky.owner[chosen]
    source = random.integers(0, len(template), len(owner))
    values = _values(recipe, sky, chosen, random)
    replaced = {path: values[name] for name, paths in recipe.values.items() for path in paths}
    rows = pa.array(source)
    columns: list[pa.Array] = []
    for field in template.schema:
        real = _array(template, field.name)
        if field.name in replaced:
            columns.append(replaced[field.name].cast(field.type))
        elif field.name in recipe.histories:
            columns.append(_histories(real, rows, recipe.histories[field.name], values))
        elif field.name in stamps:
            columns.append(_stamps(field.type, stamps[field.name], len(owner), random))
        elif any(path.startswith(f"{field.name}.") for path in replaced):
            columns.append(_struct(real, field.name, rows, replaced))
        else:
            columns.append(real.take(rows))
    return pa.Table.from_arrays(columns, schema=template.schema)


def _values(recipe: Recipe, sky: Sky, chosen: slice, random: np.random.Generator) -> Values:
    """Return the values of the sky for each alert, by their names in recipes."""
    owner, time = sky.owner[chosen], sky.time[chosen]
    count = len(owner)
    error = random.uniform(0.01, 0.3, count).astype(np.float32)
    ra = (sky.ra[owner] + random.normal(0, SCATTER_DEG, count)) % 360.0
    dec = np.clip(sky.dec[owner] + random.normal(0, SCATTER_DEG, count), -90, 90)
    magnitude = (sky.magnitude[owner] + random.normal(0, 0.3, count)).astype(np.float32)
    flux = 10.0 ** ((ZERO_POINT - magnitude) / 2.5)
    objects = pa.array(owner)
    return {
        "object": sky.names.take(objects),
        "alert": pa.array(recipe.first_alert + np.arange(chosen.start, chosen.stop)),
        "time": pa.array(time),
        "first_time": pa.array(np.full(count, recipe.night.first)),
        "night": pa.array((sky.night[chosen] + recipe.night_number).astype(np.int32)),
        "band": sky.band[chosen],
        "ra": pa.array(ra),
        "dec": pa.array(dec),
        "magnitude": pa.array(magnitude),
        "magnitude_error": pa.array(error),
        "flux": pa.array(flux.astype(np.float32)),
        "flux_error": pa.array((flux * PER_MAGNITUDE * error).astype(np.float32)),
        "class": sky.kind.take(objects),
    }


def _struct(real: pa.StructArray, name: str, rows: pa.Array, replaced: Values) -> pa.StructArray:
    fields = [
        replaced[f"{name}.{field.name}"].cast(field.type) if f"{name}.{field.name}" in replaced else part.take(rows)
        for field, part in zip(real.type, real.flatten(), strict=True)
    ]
    return pa.StructArray.from_arrays(fields, fields=list(real.type))


def _histories(real: pa.ListArray, rows: pa.Array, history: History, values: Values) -> pa.ListArray:
    """Return the points of real histories, moved in time to end before each alert."""
    starts, ends = (real.offsets.to_numpy()[at:][: len(real)] for at in (0, 1))
    source = rows.to_numpy()
    sizes = ends - starts if history.most is None else np.minimum(ends - starts, history.most)
    sizes = sizes[source]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    turn = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    points = real.values.take(pa.array(np.repeat(ends[source] - sizes, sizes) + turn))
    # shifts by whole days keep the time of day, so the times of an object's points stay distinct
    moved = np.round(np.repeat(values["time"].to_numpy(), sizes) - (np.repeat(sizes, sizes) - turn), 7)
    fields = points.flatten()
    fields[points.type.get_field_index(history.time)] = pa.array(moved)
    if history.object is not None:
        owners: npt.NDArray[np.int64] = np.repeat(np.arange(len(sizes)), sizes)
        fields[points.type.get_field_index(history.object)] = values["object"].take(pa.array(owners))
    made = pa.StructArray.from_arrays(fields, fields=list(points.type))
    return pa.ListArray.from_arrays(pa.array(offsets), made, type=real.type)


def _stamps(kind: pa.DataType, pool: pa.Array, count: int, random: np.random.Generator) -> pa.Array:
    if not len(pool):
        return pa.nulls(count, kind)
    drawn = pool.take(pa.array(random.integers(0, len(pool), count)))
    if not pa.types.is_struct(kind):
        return drawn
    names = pa.array(["stamp.fits.gz"]).take(pa.array(np.zeros(count, dtype=np.int64)))
    cells = [drawn if field.name == "stampData" else names for field in kind]
    return pa.StructArray.from_arrays(cells, fields=list(kind))


def _array(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()
