"""What users hold - arrays of IDs, SkyCoord, Quantity, Time - as tickets have it. Nothing here loads astropy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flight_server.errors import BadValue

__all__ = ["angle", "centre", "id_list", "moment", "plain_ids"]


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


def angle(value: Any, unit: str, name: str) -> float:
    """Give an angle in a unit: a number is taken as it is, a Quantity is converted.

    Raises
    ------
    BadValue
        It is neither.
    """
    try:
        return float(value.to_value(unit) if hasattr(value, "to_value") else value)
    except (TypeError, ValueError) as error:  # of astropy's errors of units too
        raise BadValue(f"{name} must be one angle, a number ({unit}) or a Quantity: {error}", field=name, value=value) from error


def centre(place: tuple[Any, ...]) -> tuple[float, float]:
    """Give right ascension and declination, degrees: of one SkyCoord, or of two angles.

    Raises
    ------
    BadValue
        The place is neither.
    """
    if len(place) == 1 and hasattr(place[0], "icrs"):
        place = (place[0].icrs.ra, place[0].icrs.dec)
    if len(place) != 2:  # noqa: PLR2004
        raise BadValue("the centre of a cone is a SkyCoord, or right ascension and declination", field="cone")
    return angle(place[0], "deg", "cone.ra"), angle(place[1], "deg", "cone.dec")


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
