"""What users hold - arrays of IDs, SkyCoord, Quantity, Time - as tickets have it. Nothing here loads astropy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from flight_server.protocol.errors import BadValue

__all__ = ["angle", "angles", "centre", "centres", "id_list", "moment", "plain_ids"]


def id_list(ids: object) -> list[str | int]:
    """Give IDs as a list of plain texts and integers.

    Parameters
    ----------
    ids
        One ID, or many: any iterable, such as a list, an array of numpy or Arrow, a Series of pandas or Polars.

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
    """Give IDs one by one, as plain texts and integers.

    Raises
    ------
    BadValue
        Those are no IDs.
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
            message = f"an ID is a text or an integer, not {value!r:.60}"
            if isinstance(value, float):
                message += ": floats do not hold long IDs exactly"
            raise BadValue(message, field="ids", value=value)
        yield value


def angles(value: Any, unit: str, name: str) -> Any:
    """Give angles in a unit, one or an array of them: numbers are taken as they are, Quantities are converted.

    Raises
    ------
    BadValue
        They are neither.
    """
    try:
        return np.asarray(value.to_value(unit) if hasattr(value, "to_value") else value, dtype=np.float64)
    except (TypeError, ValueError) as error:  # of astropy's errors of units too
        raise BadValue(f"{name} must be angles, numbers ({unit}) or Quantities: {error}", field=name, value=value) from error


def angle(value: Any, unit: str, name: str) -> float:
    """Give one angle in a unit; see `angles`."""
    return _one(angles(value, unit, name), name)


def _one(found: Any, name: str) -> float:
    if found.ndim:
        raise BadValue(f"{name} must be one angle, not {found.size}", field=name, value=found)
    return float(found)


def centres(places: tuple[Any, ...]) -> tuple[Any, Any]:
    """Give right ascensions and declinations, degrees: of a SkyCoord, or of two angles or arrays of them.

    Raises
    ------
    BadValue
        The places are neither.
    """
    if len(places) == 1 and hasattr(places[0], "icrs"):
        places = (places[0].icrs.ra, places[0].icrs.dec)
    if len(places) != 2:  # noqa: PLR2004
        raise BadValue("the centre of a cone is a SkyCoord, or right ascension and declination", field="cone")
    return angles(places[0], "deg", "cone.ra"), angles(places[1], "deg", "cone.dec")


def centre(place: tuple[Any, ...]) -> tuple[float, float]:
    """Give one right ascension and declination; see `centres`."""
    ra, dec = centres(place)
    return _one(ra, "cone.ra"), _one(dec, "cone.dec")


def moment(value: Any, scale: str, name: str) -> float | str:
    """Give a moment as tickets have it: a Time as JD in the scale of the table, numbers and texts as they are.

    Raises
    ------
    BadValue
        It is none of these, or several.
    """
    if hasattr(value, "jd") and hasattr(value, "scale"):
        value = getattr(value, scale).jd
    if isinstance(value, str):
        return value
    if hasattr(value, "to_value"):
        raise BadValue(f"{name} must be a Time, a JD, an MJD or an ISO date, not {value!r:.60}", field=name, value=value)
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise BadValue(f"{name} must be one Time, JD, MJD or ISO date, not {value!r:.60}", field=name, value=value) from error
