"""The query language as values. `ticket_json` reads its JSON, `ticket_fields` has the types of its fields."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

__all__ = ["CUTOUT_FORMATS", "CUTOUT_KINDS", "CUTOUT_PLANES", "MAX_TICKET_BYTES", "Cone", "Query", "SkyMap"]

CutoutKind = Literal["Science", "Template", "Difference"]
CutoutFormat = Literal["bytes", "fits", "array"]
CutoutPlane = Literal["image", "uncertainty", "psf"]
Layout = Literal["rows", "nested"]
Compression = Literal["none", "lz4", "zstd"]

MAX_TICKET_BYTES = 1_048_576
DEFAULT_MESSAGE_BYTES = 3_670_016
MAX_MESSAGE_BYTES = 64 * 1_048_576
MAX_INTEGER = 2**63 - 1
CUTOUT_KINDS: tuple[str, ...] = get_args(CutoutKind)
CUTOUT_FORMATS: tuple[str, ...] = get_args(CutoutFormat)
CUTOUT_PLANES: tuple[str, ...] = get_args(CutoutPlane)
LAYOUTS: tuple[str, ...] = get_args(Layout)
SELECTIONS = ("ids", "cone", "class", "tag", "sso", "tracklet", "name", "night", "skymap", "all")
FIELDS = {"class": "class_"}  # attributes of fields whose names are Python keywords


@dataclass(frozen=True, slots=True)
class Cone:
    """A cone on the sky: ra and dec of its centre in degrees, radius in arcsec."""

    ra: float
    dec: float
    radius: float


@dataclass(frozen=True, slots=True)
class SkyMap:
    """A sky region: HEALPix pixels in RING order, as ranges with first and last pixel, both included.

    The ranges are ascending and apart from each other, however they are given.

    >>> SkyMap(64, ((7, 9), (0, 3), (4, 5), (2, 3)))
    SkyMap(nside=64, ranges=((0, 5), (7, 9)))
    """

    nside: int
    ranges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", _joined(self.ranges))


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query; immutable. docs/reference/ticket.md describes each field."""

    table: str
    ids: tuple[str | int, ...] | None = None
    cone: Cone | None = None
    class_: str | None = None
    tag: str | None = None
    sso: str | None = None
    tracklet: str | None = None
    name: str | None = None
    night: str | None = None
    skymap: SkyMap | None = None
    all: bool = False
    key_range: tuple[str, str] | None = None
    columns: tuple[str, ...] | None = None
    cutouts: tuple[str, ...] = ()
    cutout_format: str = "bytes"
    cutout_planes: tuple[str, ...] = ("image",)
    upper_limits: bool = False
    forced: bool = False
    layout: str = "rows"
    start: float | str | None = None
    stop: float | str | None = None
    limit: int | None = None
    limit_objects: int | None = None
    as_of: int | None = None
    resume_after: str | None = None
    compression: str = "none"
    digest: bool = False
    max_message_bytes: int = DEFAULT_MESSAGE_BYTES
    plan: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the shortest ticket of this query: fields with default values are left out."""
        given = ((name, getattr(self, attribute), default) for attribute, name, default in _FIELDS)
        return {name: _plain(value) for name, value, default in given if value != default}

    @property
    def selections(self) -> tuple[str, ...]:
        """The names of the selection fields that are set."""
        return tuple(name for name in SELECTIONS if getattr(self, FIELDS.get(name, name), None) not in (None, (), False))

    def to_json(self) -> bytes:
        """Return the ticket as UTF-8 JSON.

        >>> Query(table="ztf", ids=("ZTF20abfcszi",)).to_json()
        b'{"table":"ztf","ids":["ZTF20abfcszi"]}'
        """
        return json.dumps(self.to_dict(), separators=(",", ":"), ensure_ascii=False).encode()

    def fingerprint(self) -> str:
        """Return 12 hex digits that bind a cursor to this query.

        `resume_after` is left out, since a resumed query adds it. So is `as_of`: a resumed query may set it to the state
        of the first answer, which is not known before. And `plan` changes no answer.
        """
        bound = self
        if self.resume_after is not None or self.as_of is not None or self.plan is not None:  # a copy takes its time
            bound = replace(self, resume_after=None, as_of=None, plan=None)
        return hashlib.sha256(repr(bound).encode("utf-8", "surrogatepass")).hexdigest()[:12]


_FIELDS = [(field.name, field.name.rstrip("_"), field.default) for field in fields(Query)]


def _joined(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sort ranges, and join those that overlap or adjoin."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return tuple(found)


def _plain(value: object) -> object:
    """Return a value as a JSON value."""
    if isinstance(value, Cone):
        return {"ra": value.ra, "dec": value.dec, "radius": value.radius}
    if isinstance(value, SkyMap):
        return {"nside": value.nside, "ranges": [list(pair) for pair in value.ranges]}
    return list(value) if isinstance(value, tuple) else value
