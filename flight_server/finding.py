"""What lies in a part of the sky: objects or rows that a survey's index table of positions names.

The index table is kept by HEALPix pixel. Of the pixels that the wanted part touches only positions are read; the exact
test is made on these, and what passes is then read like rows that were asked for by name.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalogue import Catalogue, schema_of
from flight_server.declarations import Pixels, Table
from flight_server.derive.separations import separation
from flight_server.reading import Reading
from flight_server.sky import cone_pixels, degraded, in_ranges, pixels_of
from flight_server.storage.protocols import Rows, Span
from flight_server.tickets import Cone, SkyMap

__all__ = ["Found", "find"]

ARCSEC = 3600.0


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of an index table in the order of the answer: by separation, object and time, or by row key.

    Parameters
    ----------
    ids
        The objects, n of them, maybe some more than once.
    keys
        Their row keys.
    """

    ids: pa.Array
    keys: npt.NDArray[np.bytes_]

    @property
    def objects(self) -> tuple[str | int, ...]:
        """The objects, each once."""
        return tuple(dict.fromkeys(self.ids.to_pylist()))


def find(reading: Reading, index: Table, catalogue: Catalogue) -> Generator[Rows, None, Found]:
    """Find what lies in the plan's cone or sky map; meanwhile gives what the store gives while it waits."""
    pixels = index.pixels
    area = reading.plan.query.cone or reading.plan.query.skymap
    if pixels is None or area is None:
        raise ValueError(f"{index.name} is no index of positions")
    known = catalogue.known[index.survey]
    # the bounds of an answer from the index itself are on its own time
    bounds = (reading.plan.start, reading.plan.stop) if index is reading.plan.table else (None, None)
    columns = tuple(known[name] for name in (index.id, pixels.ra, pixels.dec, index.time or index.id))
    spans = [Span(values=(pixel,), start=bounds[0], stop=bounds[1]) for pixel in _touched(area, pixels.nside).tolist()]
    parts = []
    for some in reading.scan(index, columns, spans=spans):
        reading.patience.check()
        if len(some.batch):
            parts.append(some)
        else:
            yield some
    batch = pa.Table.from_batches([some.batch for some in parts], schema=schema_of(columns)).combine_chunks()
    keys = np.concatenate([some.keys for some in parts]) if parts else np.zeros(0, dtype="S1")
    ra, dec, time = (batch[column].to_numpy() for column in (1, 2, 3))
    inside, nearness = _inside(area, ra, dec, pixels)
    if index.time and bounds[0] is not None:
        inside &= time >= bounds[0]
    if index.time and bounds[1] is not None:
        inside &= time < bounds[1]
    chosen = np.flatnonzero(inside)
    ids = batch[0].combine_chunks() if batch.num_rows else pa.array([], batch[0].type)
    names = np.array(ids.take(pa.array(chosen)).to_pylist(), dtype=object if not len(chosen) else None)
    order = chosen[np.lexsort((time[chosen], names, nearness[chosen]) if nearness is not None else (keys[chosen],))]
    return Found(ids.take(pa.array(order)), keys[order])


def _touched(area: Cone | SkyMap, nside: int) -> npt.NDArray[np.int64]:
    if isinstance(area, Cone):
        return cone_pixels(area.ra, area.dec, area.radius / ARCSEC, nside)
    return degraded(area.nside, area.ranges, nside)


def _inside(
    area: Cone | SkyMap, ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64], pixels: Pixels
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64] | None]:
    """Say which positions lie inside, and, of a cone, how far they are from its centre."""
    if isinstance(area, Cone):
        apart = separation(ra, dec, (area.ra, area.dec))
        return apart <= area.radius / ARCSEC, apart
    if area.nside == pixels.nside:
        return np.ones(len(ra), dtype=bool), None
    known = np.isfinite(ra) & np.isfinite(dec)
    inside = np.zeros(len(ra), dtype=bool)
    inside[known] = in_ranges(pixels_of(ra[known], dec[known], area.nside), area.ranges)
    return inside, None
