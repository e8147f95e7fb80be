"""Cones and HEALPix pixels (RING order) on the sky.

astropy and astropy-healpix are imported on first use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from flight_server.derive.separations import separation
from flight_server.protocol.query import SkyMap

__all__ = ["PixelRanges", "cone_pixels", "pixels_of"]

Pixels = npt.NDArray[np.int64]
Degrees = npt.NDArray[np.float64]

FINE_RADIUS = 1.5  # degrees; up to this radius edges are tested, above it some more pixels are returned
STEPS = 64  # points on each edge of a pixel
ROUNDING = 1e-9  # degrees, far more than the rounding error of positions in the conversion to pixels
PIECE = 65_536  # pixels converted together
NARROWEST = 0.5  # of the mean edge, a lower bound: the narrowest pixels have two thirds of it


def pixels_of(ra: Degrees, dec: Degrees, nside: int) -> Pixels:
    """Return the pixel of each position, degrees.

    >>> pixels_of(np.array([10.0]), np.array([41.0]), 128)
    array([33550])
    """
    from astropy import units
    from astropy_healpix import lonlat_to_healpix

    found: Pixels = lonlat_to_healpix(ra * units.deg, dec * units.deg, nside, order="ring").astype(np.int64)
    return found


def cone_pixels(ra: float, dec: float, radius: float, nside: int) -> Pixels:
    """Return the pixels that a cone touches, ascending; none is missing, but some nearby ones may be included.

    Parameters
    ----------
    ra, dec, radius
        Centre and radius, degrees.
    nside
        Pixels along the edge of a base pixel.
    """
    from astropy import units
    from astropy_healpix import boundaries_lonlat, lonlat_to_healpix
    from astropy_healpix.core import healpix_cone_search

    edge = float(np.degrees(np.sqrt(np.pi / 3) / nside))
    # most small cones are well inside the pixel of their centre; the offsets are its position within the pixel, 0 to 1
    centre, x, y = lonlat_to_healpix(ra * units.deg, dec * units.deg, nside, return_offsets=True, order="ring")
    if radius + ROUNDING < NARROWEST * edge * min(x, 1 - x, y, 1 - y):
        return np.array([centre], dtype=np.int64)
    # twice the edge is more than the diameter of a pixel; the library's own search misses some pixels that the cone only
    # grazes
    wide = healpix_cone_search(ra * units.deg, dec * units.deg, min(radius + 2 * edge, 180.0) * units.deg, nside, order="ring")
    candidates: Pixels = np.sort(wide).astype(np.int64)
    if radius > FINE_RADIUS:
        return candidates
    lon, lat = boundaries_lonlat(candidates, STEPS, nside, order="ring")
    nearest = separation(lon.deg.ravel(), lat.deg.ravel(), (ra, dec)).reshape(lon.shape).min(axis=1)
    # any point of an edge is at most half a step from a tested point; edges are at most twice the mean one
    touched = (nearest <= radius + edge / STEPS) | (candidates == centre)
    found: Pixels = candidates[touched]
    return found


@dataclass(frozen=True, slots=True)
class PixelRanges:
    """Pixels as ranges, ascending and apart from each other; worked on in bounded memory, however many pixels they have.

    Parameters
    ----------
    nside
        The nside of the pixels, a power of two.
    firsts, lasts
        First and last pixel of each range, n values each.
    """

    nside: int
    firsts: Pixels
    lasts: Pixels

    @classmethod
    def of(cls, region: SkyMap) -> Self:
        """Return the ranges of a sky map."""
        bounds = np.array(region.ranges, dtype=np.int64).reshape(-1, 2)
        return cls(region.nside, bounds[:, 0].copy(), bounds[:, 1].copy())

    def contain(self, pixels: Pixels) -> npt.NDArray[np.bool_]:
        """Return a mask of the pixels inside."""
        place = np.searchsorted(self.firsts, pixels, side="right") - 1
        found: npt.NDArray[np.bool_] = (place >= 0) & (self.lasts[place] >= pixels)
        return found

    def overlapping(self, nside: int, check: Callable[[], None]) -> Pixels:
        """Return the pixels at another nside, a power of two, that overlap these, ascending.

        Parameters
        ----------
        nside
            The nside of the result.
        check
            Called between pieces of the work; raises if it has to end.
        """
        from astropy_healpix import HEALPix

        # in the nested order the parts of a pixel are neighbours
        if nside > self.nside:
            touched = np.repeat(self.parts_inside(self.nside, check) > 0, (nside // self.nside) ** 2)
        elif 2 * self._count <= 12 * self.nside**2:
            touched = self.parts_inside(nside, check) > 0
        else:  # it is less work to look for what is outside as a whole
            touched = self._others().parts_inside(nside, check) < (self.nside // nside) ** 2
        found: Pixels = np.sort(HEALPix(nside, order="ring").nested_to_ring(np.flatnonzero(touched))).astype(np.int64)
        return found

    @property
    def _count(self) -> int:
        return int((self.lasts - self.firsts + 1).sum())

    def _others(self) -> Self:
        """Return the pixels outside."""
        firsts = np.append(0, self.lasts + 1)
        lasts = np.append(self.firsts - 1, 12 * self.nside**2 - 1)
        some = firsts <= lasts
        return type(self)(self.nside, firsts[some], lasts[some])

    def parts_inside(self, nside: int, check: Callable[[], None]) -> Pixels:
        """Return how many of these pixels are in each pixel of a coarser or the same nside, in the nested order."""
        from astropy_healpix import HEALPix

        own, each = HEALPix(self.nside, order="ring"), (self.nside // nside) ** 2
        found = np.zeros(12 * nside**2, dtype=np.int64)
        for piece in self._pieces():
            check()
            found += np.bincount(own.ring_to_nested(piece) // each, minlength=len(found))
        return found

    def _pieces(self) -> Iterator[Pixels]:
        """Yield the pixels in pieces of at most `PIECE`."""
        ends = np.cumsum(self.lasts - self.firsts + 1)
        for begin in range(0, self._count, PIECE):
            numbers = np.arange(begin, min(begin + PIECE, self._count))
            place = np.searchsorted(ends, numbers, side="right")
            yield (self.lasts[place] + 1 - (ends[place] - numbers)).astype(np.int64)
