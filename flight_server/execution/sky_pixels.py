"""Cones and HEALPix pixels (RING order) on the sky.

astropy and astropy-healpix are loaded with the first question about the sky.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flight_server.derive.separations import separation

__all__ = ["cone_pixels", "degraded", "in_ranges", "pixels_of"]

Pixels = npt.NDArray[np.int64]
Degrees = npt.NDArray[np.float64]

FINE_RADIUS = 1.5  # degrees; pixels that touch smaller cones are told exactly, those of larger ones within a pixel
STEPS = 64  # points on each edge of a pixel
ROUNDING = 1e-9  # degrees, far more than positions lose in the turn to pixels
NARROWEST = 0.5  # of the usual edge: no pixel is as narrow, the narrowest ones have two thirds of it


def pixels_of(ra: Degrees, dec: Degrees, nside: int) -> Pixels:
    """Give the pixel of each position, degrees.

    >>> pixels_of(np.array([10.0]), np.array([41.0]), 128)
    array([33550])
    """
    from astropy import units
    from astropy_healpix import lonlat_to_healpix

    found: Pixels = lonlat_to_healpix(ra * units.deg, dec * units.deg, nside, order="ring").astype(np.int64)
    return found


def cone_pixels(ra: float, dec: float, radius: float, nside: int) -> Pixels:
    """Give the pixels that a cone touches, ascending; some that it all but touches may be among them, none is missing.

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
    # most small cones lie well within the pixel of their centre; the offsets say how far it is from the edges, 0 to 1
    centre, x, y = lonlat_to_healpix(ra * units.deg, dec * units.deg, nside, return_offsets=True, order="ring")
    if radius + ROUNDING < NARROWEST * edge * min(x, 1 - x, y, 1 - y):
        return np.array([centre], dtype=np.int64)
    # twice the edge is farther than any two points of a pixel are apart; the library's own search leaves out some
    # pixels of which the cone has a sliver
    wide = healpix_cone_search(ra * units.deg, dec * units.deg, min(radius + 2 * edge, 180.0) * units.deg, nside, order="ring")
    candidates: Pixels = np.sort(wide).astype(np.int64)
    if radius > FINE_RADIUS:
        return candidates
    lon, lat = boundaries_lonlat(candidates, STEPS, nside, order="ring")
    nearest = separation(lon.deg.ravel(), lat.deg.ravel(), (ra, dec)).reshape(lon.shape).min(axis=1)
    # a point of an edge is at most half a step from a point that was looked at; edges are at most twice the usual one
    touched = (nearest <= radius + edge / STEPS) | (candidates == centre)
    found: Pixels = candidates[touched]
    return found


def degraded(nside: int, ranges: Sequence[tuple[int, int]], to: int) -> Pixels:
    """Give the pixels at another nside that have a part in some ranges of pixels, ascending.

    Parameters
    ----------
    nside
        That of the ranges, a power of two.
    ranges
        First and last pixel of each range.
    to
        The nside wanted, a power of two.
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
    """Say which pixels lie in some ranges, first and last included."""
    bounds = np.array(sorted(ranges), dtype=np.int64).reshape(-1, 2)
    # ranges may overlap: what counts is how far those that begin in front of a pixel reach
    reach = np.maximum.accumulate(bounds[:, 1])
    place = np.searchsorted(bounds[:, 0], pixels, side="right") - 1
    found: npt.NDArray[np.bool_] = (place >= 0) & (reach[np.maximum(place, 0)] >= pixels)
    return found
