"""The constellation of a position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.derive.inputs import Codes, Numbers, declinations

__all__ = ["constellation"]

J2000 = 2_451_545.0
EQUINOX = 1875.0  # of the boundaries
RADIANS_PER_HOUR = np.pi / 12.0


@dataclass(frozen=True, slots=True, eq=False)
class Boundaries:
    """The sky of 1875 cut into cells, and the constellation of each.

    Parameters
    ----------
    hours
        All right ascensions of boundaries, ascending. The cells are in order: below the first, on the first,
        between it and the second, and so on.
    degrees
        The same for declinations; a position on one belongs to the cell below.
    cells
        The index in `names` for each pair of cells.
    names
        English names of the constellations.
    to_boundaries
        The rotation of a GCRS direction to the equinox of the boundaries.
    """

    hours: Numbers
    degrees: Numbers
    cells: Codes
    names: pa.Array
    to_boundaries: Numbers


def constellation(ra: Numbers, dec: Numbers) -> pa.Array:
    """Return the English names of the constellations in which positions lie; null where a coordinate is none.

    They agree with astropy's `get_constellation`: ICRS is converted to GCRS at J2000, precessed to the mean equator of
    1875, and looked up in Roman's table (1987, PASP 99, 695) of the boundaries of Delporte (1930).

    Parameters
    ----------
    ra, dec
        ICRS, degrees.

    Examples
    --------
    >>> constellation(np.array([320.38, np.nan]), np.array([13.56, 0.0])).to_pylist()
    ['Pegasus', None]
    """
    import erfa

    dec = declinations(dec)
    bounds = _boundaries()
    known = np.isfinite(ra) & np.isfinite(dec)
    ra, dec = np.where(known, ra, 0.0), np.where(known, dec, 0.0)
    geocentric = erfa.atciqz(np.radians(ra), np.radians(dec), erfa.apcg13(J2000, 0.0))
    lon, lat = erfa.c2s(erfa.s2c(*geocentric) @ bounds.to_boundaries.T)
    hours, degrees = erfa.anp(lon) / RADIANS_PER_HOUR, np.degrees(lat)
    across = np.searchsorted(bounds.hours, hours, "left") + np.searchsorted(bounds.hours, hours, "right")
    codes = bounds.cells[across, np.searchsorted(bounds.degrees, degrees, "left")]
    return bounds.names.take(pa.array(codes, mask=~known))


@cache
def _boundaries() -> Boundaries:
    import erfa

    east_of, west_of, above, short = _roman_table()
    hours, degrees = np.unique([east_of, west_of]), np.unique(above)
    # One sample in each cell. A row of the table ends just before its right ascensions and its declination, except at
    # 0 h and at the south pole, where nothing else begins.
    samples = np.empty(2 * len(hours) + 1)
    samples[1::2] = hours
    samples[2:-1:2] = (hours[1:] + hours[:-1]) / 2
    samples[:2], samples[-2:] = samples[2], samples[-3]
    heights = np.append(degrees, np.inf)
    heights[0] = heights[1]
    names = dict(line.split(" ", 1) for line in _lines("constellation_names.dat"))
    listed = sorted(names.values())
    cells = np.full((len(samples), len(heights)), -1)
    # the first table row that contains a position applies, so it is written last
    for east, west, bottom, name in reversed(list(zip(east_of, west_of, above, short, strict=True))):
        cells[np.ix_((east < samples) & (samples < west), heights > bottom)] = listed.index(names[name])
    return Boundaries(
        hours=hours,
        degrees=degrees,
        cells=cells,
        names=pa.array(listed),
        to_boundaries=erfa.pmat06(*erfa.epb2jd(EQUINOX)),
    )


def _roman_table() -> tuple[Numbers, Numbers, Numbers, list[str]]:
    rows = [line.split() for line in _lines("constellation_data_roman87.dat")]
    numbers: npt.NDArray[np.float64] = np.array([row[:3] for row in rows], dtype=np.float64)
    return numbers[:, 0], numbers[:, 1], numbers[:, 2], [row[3] for row in rows]


def _lines(name: str) -> list[str]:
    """Return the lines of one of astropy's tables, without comments."""
    text = (files("astropy") / "coordinates" / "data" / name).read_text("utf-8")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
