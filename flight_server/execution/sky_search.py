"""Search by position: the objects or rows of a survey's index table in a cone or sky map.

The row keys of the index table begin with the HEALPix pixel. Only positions are read of the pixels that the region touches;
the exact test is made on these, and the matches are then read by ID or row key. If the answer has rows of the index table
itself and the pixels are few, all columns are read at once: a second read would cost more than it saves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Projection
from flight_server.catalog.declarations import Pixels, Table
from flight_server.derive.separations import separation
from flight_server.execution.reader import PlanReader
from flight_server.execution.sky_pixels import cone_pixels, degraded, in_ranges, pixels_of
from flight_server.planning.cursors import Place, lost_place
from flight_server.protocol.query import Cone, SkyMap
from flight_server.storage.row_keys import object_key, object_keys
from flight_server.storage.scans import Rows, Span

__all__ = ["Found", "find_in_sky"]

ARCSEC = 3600.0
FEW_PIXELS = 64  # up to this many, all columns are read at once


@dataclass(frozen=True, slots=True)
class Found:
    """Matching rows of an index table in the order of the answer: by separation, object and time, or by row key.

    Parameters
    ----------
    ids
        The object IDs, n values, possibly with repeats.
    keys
        Their row keys.
    rows
        The rows with the requested columns, if these were read too.
    """

    ids: pa.Array
    keys: npt.NDArray[np.bytes_]
    rows: Rows | None = None

    def behind(self, place: Place | None) -> Found:
        """Return the rows of the index after the place of a cursor."""
        if place is None:
            return self
        found = np.flatnonzero(self.keys == place.key)
        if not len(found):
            raise lost_place()
        first = int(found[0]) + 1
        rows = None if self.rows is None else self.rows.slice(first, len(self.keys) - first)
        return Found(self.ids[first:], self.keys[first:], rows)

    def placed(self, place: Place | None, table: Table) -> Place | None:
        """Return the place of a cursor with the present index of its object among the objects found."""
        if place is None:
            return None
        begins = object_key(table, place.key)
        for index, key in enumerate(object_keys(table, self.objects)):
            if key == begins:
                return replace(place, request_index=index)
        raise lost_place()

    @property
    def objects(self) -> tuple[str | int, ...]:
        """The object IDs without repeats."""
        return tuple(dict.fromkeys(self.ids.to_pylist()))


def find_in_sky(reader: PlanReader, index: Table, catalog: Catalog, wanted: Projection | None = None) -> Found:
    """Find the rows of the index table in the plan's cone or sky map.

    Parameters
    ----------
    reader, index, catalog
        The plan, its index table of positions and the catalog.
    wanted
        The columns of the index table that the answer needs, if the answer has rows of it.
    """
    pixels = index.pixels
    area = reader.plan.query.cone or reader.plan.query.skymap
    if pixels is None or area is None:
        raise ValueError(f"{index.name} is not an index table of positions")
    known = catalog.known[index.survey]
    # time bounds apply to the index table only if the answer has its rows
    bounds = (reader.plan.start, reader.plan.stop) if wanted is not None else (None, None)
    spans = [Span(values=(pixel,), start=bounds[0], stop=bounds[1]) for pixel in _touched(area, pixels.nside).tolist()]
    whole = wanted if wanted is not None and len(spans) <= FEW_PIXELS else Projection()
    tested = (index.id, pixels.ra, pixels.dec, index.time or index.id)
    columns = whole.with_further(known[name] for name in tested)
    parts = []
    for part in reader.scan(index, columns, spans=spans):
        reader.deadline.check()
        parts.append(part)
    rows = Rows.concat(parts) if parts else Rows.none(columns.schema)
    order = _order(rows, index, area, bounds)
    ids, keys = rows.batch[index.id].take(pa.array(order)), rows.keys[order]
    if not whole:
        return Found(ids, keys)
    cells = [rows.batch[column.name].take(pa.array(order)) for column in whole]
    batch = pa.RecordBatch.from_arrays(cells, schema=whole.schema)
    return Found(ids, keys, Rows(batch, np.arange(len(order)), keys))


def _order(rows: Rows, index: Table, area: Cone | SkyMap, bounds: tuple[float | None, float | None]) -> npt.NDArray[np.intp]:
    """Return the indices of the rows inside of the region, in the order of the answer."""
    assert index.pixels is not None
    ra, dec = (rows.batch[name].to_numpy(zero_copy_only=False) for name in (index.pixels.ra, index.pixels.dec))
    time = rows.batch[index.time or index.id].to_numpy(zero_copy_only=False)
    inside, nearness = _inside(area, ra, dec, index.pixels)
    if index.time and bounds[0] is not None:
        inside &= time >= bounds[0]
    if index.time and bounds[1] is not None:
        inside &= time < bounds[1]
    chosen = np.flatnonzero(inside)
    if nearness is None:
        return chosen[np.argsort(rows.keys[chosen], kind="stable")]
    ids = rows.batch[index.id].take(pa.array(chosen)).to_pylist()
    names = np.array(ids, dtype=None if ids else object)
    return chosen[np.lexsort((time[chosen], names, nearness[chosen]))]


def _touched(area: Cone | SkyMap, nside: int) -> npt.NDArray[np.int64]:
    if isinstance(area, Cone):
        return cone_pixels(area.ra, area.dec, area.radius / ARCSEC, nside)
    return degraded(area.nside, area.ranges, nside)


def _inside(
    area: Cone | SkyMap, ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64], pixels: Pixels
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64] | None]:
    """Return a mask of the positions inside and, for a cone, the separations from its centre, degrees."""
    if isinstance(area, Cone):
        apart = separation(ra, dec, (area.ra, area.dec))
        return apart <= area.radius / ARCSEC, apart
    if area.nside == pixels.nside:
        return np.ones(len(ra), dtype=bool), None
    known = np.isfinite(ra) & np.isfinite(dec)
    inside = np.zeros(len(ra), dtype=bool)
    inside[known] = in_ranges(pixels_of(ra[known], dec[known], area.nside), area.ranges)
    return inside, None
