"""Distances on the sky."""

from __future__ import annotations

import numpy as np

from flight_server.derive.inputs import POLE, Numbers, declinations
from flight_server.protocol.errors import BadValue

__all__ = ["separation"]


def separation(ra: Numbers, dec: Numbers, centre: tuple[float, float]) -> Numbers:
    """Return the great-circle distance of positions from one point, degrees; NaN where a coordinate is none.

    Vincenty's formula (1975) on a sphere: exact to the last digits for points next to each other and for antipodes.

    Parameters
    ----------
    ra, dec
        The positions, degrees.
    centre
        Right ascension and declination of the point, degrees.

    Raises
    ------
    BadValue
        The declination of the point is beyond the pole.

    Examples
    --------
    >>> separation(np.array([0.0, 180.0]), np.array([90.0, -45.0]), (0.0, 45.0)).round(9)
    array([ 45., 180.])
    """
    if abs(centre[1]) > POLE:
        raise BadValue(f"a declination of {centre[1]} degrees is beyond the pole", value=centre[1])
    dec = declinations(dec)
    with np.errstate(invalid="ignore"):
        apart = np.radians(centre[0] - ra)
        cos_apart, sin_apart = np.cos(apart), np.sin(apart)
    here, there = np.radians(dec), np.radians(centre[1])
    across = np.cos(there) * sin_apart
    along = np.cos(here) * np.sin(there) - np.sin(here) * np.cos(there) * cos_apart
    inwards = np.sin(here) * np.sin(there) + np.cos(here) * np.cos(there) * cos_apart
    found: Numbers = np.degrees(np.arctan2(np.hypot(across, along), inwards))
    return found
