"""Cones and HEALPix pixels (RING order) on the sky.

astropy and astropy-healpix are imported on first use.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flight_server.derive.separations import separation

__all__ = ["cone_pixels", "degraded", "in_ranges", "pixels_of"]

Pixels = npt.NDArray[np.int64]
Degrees = npt.NDArray[np.float64]

FINE_RADIUS = 1.5  # degrees; up to this radius edges are tested, above it some more pixels are returned
STEPS = 64  # points on each edge of a pixel
ROUNDING = 1e-9  # degrees, far more than the rounding error of positions in the conversion to pixels
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


def degraded(nside: int, ranges: Sequence[tuple[int, int]], to: int) -> Pixels:
    """Return the pixels at another nside that overlap ranges of pixels, ascending.

    Parameters
    ----------
    nside
        The nside of the ranges, a power of two.
    ranges
        First and last pixel of each range.
    to
        The requested nside, a power of two.
    """
    from astropy_healpix import HEALPix

    pixels = np.unique(np.concatenate([np.arange(first, last + 1) for first, last in ranges]))
    if nside == to:
        return pixels
    nested = HEALPix(nside, order="ring").ring_to_nested(pixels)
    if to < nside:
        nested = np.unique(nested // (nside // to) ** 2)
    else:
        children = (to // nside) ** 2
        nested = (nested[:, None] * children + np.arange(children)).ravel()
    found: Pixels = np.sort(HEALPix(to, order="ring").nested_to_ring(nested)).astype(np.int64)
    return found


def in_ranges(pixels: Pixels, ranges: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """Return a mask of the pixels inside of ranges, first and last included."""
    bounds = np.array(sorted(ranges), dtype=np.int64).reshape(-1, 2)
    # ranges may overlap: take the farthest end of all ranges that begin at or before a pixel
    reach = np.maximum.accumulate(bounds[:, 1])
    place = np.searchsorted(bounds[:, 0], pixels, side="right") - 1
    found: npt.NDArray[np.bool_] = (place >= 0) & (reach[np.maximum(place, 0)] >= pixels)
    return found
