"""Conversion of user values (SkyCoord, Quantity) to those of tickets. Nothing here loads astropy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from flight_client.scalars import is_missing
from flight_server.protocol.errors import BadValue

__all__ = ["angle", "angles", "centre", "centres"]


def angles(value: Any, unit: str, name: str) -> Any:
    """Return angles in a unit, one or an array of them: numbers unchanged, Quantities converted, missing ones NaN.

    Raises
    ------
    BadValue
        They are neither.
    """
    try:
        return _floats(value, unit)
    except (TypeError, ValueError) as error:  # astropy's errors of units are among these
        raise BadValue(f"{name} must be angles, numbers ({unit}) or Quantities: {error}", field=name, value=value) from error


def _floats(value: Any, unit: str) -> Any:
    if isinstance(value, Iterator):
        value = list(value)
    factor = 1.0
    if hasattr(value, "to_value"):
        value = value.to_value(unit)
    elif hasattr(getattr(value, "unit", None), "to"):  # a column of astropy
        factor = value.unit.to(unit)
    if np.asarray(value).dtype.kind == "b":
        raise TypeError("booleans are no angles")
    mask = getattr(value, "mask", None)  # np.asarray would show what is behind it; that of pandas is a method
    hidden = mask is not None and not callable(mask)
    try:
        found = np.asarray(getattr(value, "unmasked", value) if hidden else value, dtype=np.float64) * factor
    except TypeError:
        if not isinstance(value, Iterable):
            raise
        found = np.asarray([math.nan if is_missing(one) else one for one in value], dtype=np.float64) * factor
    return np.where(np.asarray(mask), math.nan, found) if hidden else found


def angle(value: Any, unit: str, name: str) -> float:
    """Return one angle in a unit; see `angles`."""
    return _one(angles(value, unit, name), name)


def _one(found: Any, name: str) -> float:
    if found.ndim:
        raise BadValue(f"{name} must be one angle, not {found.size}", field=name, value=found)
    return float(found)


def centres(places: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return right ascensions and declinations in degrees, from a SkyCoord or from two angles or arrays of them.

    Raises
    ------
    BadValue
        The positions are neither.
    """
    if len(places) == 1 and hasattr(places[0], "icrs"):
        places = (places[0].icrs.ra, places[0].icrs.dec)
    if len(places) != 2:  # noqa: PLR2004
        raise BadValue("the centre of a cone must be a SkyCoord, or right ascension and declination", field="cone")
    return angles(places[0], "deg", "cone.ra"), angles(places[1], "deg", "cone.dec")


def centre(place: tuple[Any, ...]) -> tuple[float, float]:
    """Return one right ascension and declination; see `centres`."""
    ra, dec = centres(place)
    return _one(ra, "cone.ra"), _one(dec, "cone.dec")
