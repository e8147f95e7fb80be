"""Ticket fields one by one: the check of the JSON value, and its conversion for `Query`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, is_typeddict

import msgspec

from flight_server.protocol.errors import BadValue
from flight_server.protocol.query import Cone, SkyMap
from flight_server.protocol.ticket_fields import FIELD_TYPES, ConeFields, SkyMapFields
from flight_server.protocol.times import read_milliseconds, read_night, read_time
from flight_server.protocol.validation import explain

__all__ = ["MEANINGS", "checked", "cone_of"]


def checked(name: str, value: object) -> Any:
    """Convert a JSON value to the type of a field.

    Raises
    ------
    BadValue
        It is not of that type; names the field and shows the wrong part.
    """
    kind = FIELD_TYPES[name]
    if is_typeddict(kind) and not (isinstance(value, dict) and set(value) == set(kind.__annotations__)):
        raise _wrong(name, value, f"an object with {', '.join(kind.__annotations__)}")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        fault = explain(error, kind, value, name)
        raise _wrong(fault.name, fault.value, fault.wanted) from None


def cone_of(parts: Mapping[str, float]) -> Cone:
    """Return the cone of `ra`, `dec` (degrees) and `radius` (arcsec); see the field `cone`."""
    return _cone(checked("cone", dict(parts)))


def _wrong(name: str, value: object, wanted: str) -> BadValue:
    try:
        shown = json.dumps(value)
    except RecursionError:
        shown = "a value that is nested too deeply"
    return BadValue(f"{name} must be {wanted}, not {shown[:80]}", field=name, value=shown)


def _ids(found: list[str | int]) -> tuple[str | int, ...]:
    return tuple(dict.fromkeys(found))


def _cone(found: ConeFields) -> Cone:
    return Cone(found["ra"] % 360.0, found["dec"], found["radius"])


def _skymap(found: SkyMapFields) -> SkyMap:
    pixels = 12 * found["nside"] ** 2
    for first, last in found["ranges"]:
        if not 0 <= first <= last < pixels:
            raise _wrong("skymap.ranges", [first, last], f"pairs of first and last pixel, from 0 to {pixels - 1}")
    return SkyMap(found["nside"], tuple(found["ranges"]))


def _key_range(found: tuple[str, str]) -> tuple[str, str]:
    if found[1] and found[0] >= found[1]:
        raise _wrong("key_range", found, "two strings, the second after the first, or empty for an open end")
    return found


def _columns(found: list[str]) -> tuple[str, ...] | None:
    if found == ["*"]:
        return None
    if len(set(found)) != len(found):
        repeated, _ = Counter(found).most_common(1)[0]
        raise BadValue(f"the column {repeated!r:.80} is requested twice", field="columns", value=repeated)
    return tuple(found)


def _without_repeats(name: str, found: list[str]) -> tuple[str, ...]:
    if len(set(found)) != len(found):
        raise _wrong(name, found, "a list without repeats")
    return tuple(found)


# Fields that are not here need no conversion.
MEANINGS: Mapping[str, Callable[[Any], Any]] = {
    "ids": _ids,
    "cone": _cone,
    "skymap": _skymap,
    "key_range": _key_range,
    "columns": _columns,
    "cutouts": partial(_without_repeats, "cutouts"),
    "cutout_planes": partial(_without_repeats, "cutout_planes"),
    "start": partial(read_time, "start"),
    "stop": partial(read_time, "stop"),
    "as_of": partial(read_milliseconds, "as_of"),
    "night": partial(read_night, "night"),
}
