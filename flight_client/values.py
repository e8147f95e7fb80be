"""Conversion of user values (arrays of IDs, SkyCoord, Quantity) to those of tickets. Nothing here loads astropy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from flight_server.protocol.errors import BadValue

__all__ = ["angle", "angles", "centre", "centres", "id_list", "plain_ids"]


def id_list(ids: object) -> list[str | int]:
    """Return IDs as a list of plain strings and integers.

    Parameters
    ----------
    ids
        One ID or many: any iterable, such as a list, a numpy or Arrow array, a pandas or Polars Series.

    Examples
    --------
    >>> import numpy as np
    >>> id_list(np.array([170587115523932323, 4]))
    [170587115523932323, 4]
    >>> id_list("ZTF20abfcszi")
    ['ZTF20abfcszi']
    """
    return list(plain_ids([ids] if isinstance(ids, str | int) else ids))


def plain_ids(ids: object) -> Iterable[str | int]:
    """Yield IDs one by one, as plain strings and integers.

    Raises
    ------
    BadValue
        The values are not IDs.
    """
    for name in ("to_pylist", "to_list", "tolist"):
        whole = getattr(ids, name, None)
        if whole is not None:
            ids = whole()
            break
    if not isinstance(ids, Iterable):
        raise BadValue(f"ids must be object IDs, not {ids!r:.60}", field="ids", value=ids)
    for value in ids:
        for name in ("as_py", "item"):  # scalars of Arrow and numpy
            plain = getattr(value, name, None)
            if plain is not None:
                value = plain()  # noqa: PLW2901  (the same ID)
                break
        if isinstance(value, bool) or not isinstance(value, str | int):
            message = f"an ID must be a string or an integer, not {value!r:.60}"
            if isinstance(value, float):
                message += ": floats cannot represent long IDs exactly"
            raise BadValue(message, field="ids", value=value)
        yield value


def angles(value: Any, unit: str, name: str) -> Any:
    """Return angles in a unit, one or an array of them: numbers unchanged, Quantities converted.

    Raises
    ------
    BadValue
        They are neither.
    """
    try:
        return np.asarray(value.to_value(unit) if hasattr(value, "to_value") else value, dtype=np.float64)
    except (TypeError, ValueError) as error:  # astropy's errors of units are among these
        raise BadValue(f"{name} must be angles, numbers ({unit}) or Quantities: {error}", field=name, value=value) from error


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
