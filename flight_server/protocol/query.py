"""The request language: a ticket is a JSON object, a `Query` is what it means.

This module imports nothing but the standard library, since the client shares it. It checks all
that can be checked without knowing the tables; `plan` checks the rest against the catalog.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from flight_server.protocol.errors import BadValue, InvalidTicket, NoSelection, NotSupported, TooLarge, UnknownField

__all__ = [
    "CUTOUT_FORMATS",
    "CUTOUT_KINDS",
    "MAX_TICKET_BYTES",
    "Cone",
    "Query",
    "SkyMap",
    "cone_of",
    "load_object",
    "parse_exchange",
    "parse_query",
    "parse_ticket",
]

MAX_TICKET_BYTES = 1_048_576
DEFAULT_MESSAGE_BYTES = 3_670_016
MAX_MESSAGE_BYTES = 64 * 1_048_576
MAX_INTEGER = 2**63 - 1
CUTOUT_KINDS = ("Science", "Template", "Difference")
CUTOUT_FORMATS = ("bytes", "fits", "array")
LAYOUTS = ("rows", "nested")
COMPRESSIONS = ("none", "lz4", "zstd")
SELECTIONS = ("ids", "cone", "class", "tag", "sso", "tracklet", "name", "night", "skymap", "all")
# What a stream of IDs has no use for.
NOT_EXCHANGED = ("limit", "limit_objects", "resume_after", "key_range")
# Part of the language, but nothing here answers them yet.
NOT_YET = frozenset(("tag", "forced"))
MAX_RADIUS = 18_000  # arcsec, 5 degrees, as the public service has it
MAX_NSIDE = 1024
FIELDS = {"class": "class_"}  # fields whose names Python keeps for itself


@dataclass(frozen=True, slots=True)
class Cone:
    """A disc on the sky: ra and dec of its centre in degrees, radius in arcsec."""

    ra: float
    dec: float
    radius: float


@dataclass(frozen=True, slots=True)
class SkyMap:
    """A part of the sky: HEALPix pixels of RING order, as ranges with their first and last pixel."""

    nside: int
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a ticket asks for; immutable. The reference of each field is docs/reference/ticket.md."""

    table: str
    ids: tuple[str | int, ...] | None = None
    cone: Cone | None = None
    class_: str | None = None
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
    upper_limits: bool = False
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
        """Give the shortest ticket that means this query."""
        given = ((f.name, getattr(self, f.name), f.default) for f in fields(self))
        return {name.rstrip("_"): _plain(value) for name, value, default in given if value != default}

    @property
    def selections(self) -> tuple[str, ...]:
        """The selections that are made, by the names of their fields."""
        return tuple(name for name in SELECTIONS if getattr(self, FIELDS.get(name, name), None) not in (None, (), False))

    def to_json(self) -> bytes:
        """Give the ticket as UTF-8 JSON.

        >>> Query(table="ztf", ids=("ZTF20abfcszi",)).to_json()
        b'{"table":"ztf","ids":["ZTF20abfcszi"]}'
        """
        return json.dumps(self.to_dict(), separators=(",", ":"), ensure_ascii=False).encode()

    def fingerprint(self) -> str:
        """Give 12 hex digits that bind a cursor to this query.

        `resume_after` is left out, since it is what a query that goes on adds. So is `as_of`: who goes on may pin
        the state that the first answer had, which nobody knows before it. And `plan` changes no answer.
        """
        bound = replace(self, resume_after=None, as_of=None, plan=None)
        return hashlib.sha256(repr(bound).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def parse_ticket(ticket: bytes, max_bytes: int = MAX_TICKET_BYTES) -> Query:
    """Read a ticket.

    Parameters
    ----------
    ticket
        UTF-8 JSON, one object.
    max_bytes
        The largest ticket that is taken, bytes.

    Raises
    ------
    TooLarge, InvalidTicket, UnknownField, NotSupported, NoSelection, BadValue
        Each names the field at fault.

    Examples
    --------
    >>> parse_ticket(b'{"table": "ztf", "ids": ["ZTF20abfcszi"], "limit": 3}').limit
    3
    """
    if len(ticket) > max_bytes:
        message = f"the ticket has {len(ticket)} bytes, at most {max_bytes} are taken: split the list of IDs"
        raise TooLarge(message, field="ticket", value=len(ticket))
    return parse_query(load_object(ticket))


def parse_exchange(command: bytes, max_bytes: int = MAX_TICKET_BYTES) -> Query:
    """Read the command of a `do_exchange`: a ticket without a selection, since the IDs come in the stream.

    Raises
    ------
    TooLarge, InvalidTicket, UnknownField, NotSupported, BadValue
        Each names the field at fault.
    """
    if len(command) > max_bytes:
        raise TooLarge(f"the command has {len(command)} bytes, at most {max_bytes} are taken", field="ticket", value=len(command))
    given = load_object(command)
    for name in (*SELECTIONS, *NOT_EXCHANGED):
        if name in given:
            raise NotSupported(f"a command of do_exchange has no {name}: what is asked for comes in the stream", field=name)
    return _query(given)


def parse_query(given: Mapping[str, Any]) -> Query:
    """Read a ticket whose JSON is decoded; see `parse_ticket`."""
    query = _query(given)
    made = [name for name in SELECTIONS if name in given and given[name] is not False]
    if len(made) > 1:
        message = f"a ticket has exactly one selection, this one has {' and '.join(made)}"
        raise InvalidTicket(message, field=made[-1])
    # bounds on the time select too, where rows are kept by time, which the plan knows
    if not query.selections and (made or (query.start is None and query.stop is None)):
        known = ", ".join(name for name in SELECTIONS if name not in NOT_YET)
        raise NoSelection(f"say which rows: one of {known}", field="ids")
    return query


def _query(given: Mapping[str, Any]) -> Query:
    for name in given:
        if name not in _PARSERS and name not in NOT_YET:
            known = ", ".join(_PARSERS)
            raise UnknownField(f"a ticket has no field {name!r:.80}; known are {known}", field=name)
    for name in given:
        if name in NOT_YET:
            raise NotSupported(f"this server does not answer {name!r} yet", field=name)
    if "table" not in given:
        raise InvalidTicket("the ticket names no table", field="table")
    query = Query(**{FIELDS.get(name, name): _PARSERS[name](name, value) for name, value in given.items()})
    if query.columns == () and not query.cutouts:
        raise BadValue("columns is empty: name some, or leave it out for all", field="columns", value="[]")
    return query


def load_object(ticket: bytes) -> Mapping[str, Any]:
    """Decode JSON without repeated names or text that UTF-8 cannot hold; a NaN is left to its field's check."""
    try:
        loaded = json.loads(ticket.decode("utf-8"), object_pairs_hook=_no_repeats)
        json.dumps(loaded, ensure_ascii=False).encode()
    except UnicodeError:
        raise InvalidTicket("the ticket is not UTF-8 text", field="ticket") from None
    except RecursionError:
        raise InvalidTicket("the ticket is nested too deeply", field="ticket") from None
    except json.JSONDecodeError as error:
        where = f"{error.msg} at character {error.pos}"
        raise InvalidTicket(f"the ticket is not JSON: {where}", field="ticket") from None
    except ValueError:  # a number of more digits than Python reads
        raise InvalidTicket("the ticket holds a number that is too long", field="ticket") from None
    if not isinstance(loaded, dict):
        raise InvalidTicket("the ticket is not a JSON object", field="ticket")
    return loaded


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidTicket(f"the field {name!r:.80} stands twice", field=name)
        found[name] = value
    return found


def _wrong(name: str, value: object, wanted: str) -> BadValue:
    try:
        shown = json.dumps(value)
    except RecursionError:
        shown = "something nested too deeply"
    return BadValue(f"{name} must be {wanted}, not {shown[:80]}", field=name, value=shown)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(name, value, "a text")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_INTEGER:
        raise _wrong(name, value, "a positive integer")
    return value


def _message_bytes(name: str, value: object) -> int:
    size = _positive(name, value)
    if size > MAX_MESSAGE_BYTES:
        raise _wrong(name, value, f"at most {MAX_MESSAGE_BYTES}")
    return size


def _moment(name: str, value: object) -> float | str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_INTEGER:  # a NaN neither
        raise _wrong(name, value, "a JD, an MJD or an ISO date")
    return float(value)


def _list(name: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(name, value, "a list")
    return value


def _ids(name: str, value: object) -> tuple[str | int, ...]:
    found = _list(name, value)
    for item in found:
        whole = isinstance(item, int) and not isinstance(item, bool) and abs(item) <= MAX_INTEGER
        if not whole and (not isinstance(item, str) or not item):
            raise _wrong(name, item, "a list of texts or integers")
    return tuple(dict.fromkeys(found))


def _columns(name: str, value: object) -> tuple[str, ...] | None:
    found = _list(name, value)
    for item in found:
        _text(name, item)
    if found == ["*"]:
        return None
    seen: set[str] = set()
    for item in found:
        if item in seen:
            raise BadValue(f"the column {item!r:.80} is asked for twice", field=name, value=item)
        seen.add(item)
    return tuple(found)


def _kinds(name: str, value: object) -> tuple[str, ...]:
    found = _list(name, value)
    for item in found:
        if item not in CUTOUT_KINDS:
            raise _wrong(name, item, f"a list of {', '.join(CUTOUT_KINDS)}")
    if len(set(found)) != len(found):
        raise _wrong(name, value, "a list without repeats")
    return tuple(found)


def _plain(value: object) -> object:
    """Give a value as JSON has it."""
    if isinstance(value, Cone):
        return {"ra": value.ra, "dec": value.dec, "radius": value.radius}
    if isinstance(value, SkyMap):
        return {"nside": value.nside, "ranges": [list(pair) for pair in value.ranges]}
    return list(value) if isinstance(value, tuple) else value


def _parts(name: str, value: object, names: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise _wrong(name, value, f"an object with {', '.join(names)}")
    return value


def cone_of(parts: Mapping[str, float]) -> Cone:
    """Give a cone of `ra`, `dec` and `radius`; see the field `cone`."""
    return _cone("cone", dict(parts))


def _cone(name: str, value: object) -> Cone:
    parts = _parts(name, value, ("ra", "dec", "radius"))
    bounds = {"ra": (-360, 360, "degrees"), "dec": (-90, 90, "degrees"), "radius": (0, MAX_RADIUS, "arcsec")}
    for part, (least, most, unit) in bounds.items():
        number = parts[part]
        # NaN is in no bounds
        if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
            raise _wrong(f"{name}.{part}", number, f"a number from {least} to {most}, in {unit}")
    return Cone(float(parts["ra"]) % 360.0, float(parts["dec"]), float(parts["radius"]))


def _skymap(name: str, value: object) -> SkyMap:
    parts = _parts(name, value, ("nside", "ranges"))
    nside = parts["nside"]
    if isinstance(nside, bool) or not isinstance(nside, int) or not 1 <= nside <= MAX_NSIDE or nside & (nside - 1):
        raise _wrong(f"{name}.nside", nside, f"a power of two from 1 to {MAX_NSIDE}")
    ranges = _list(f"{name}.ranges", parts["ranges"])
    for pair in ranges:
        whole = isinstance(pair, list) and len(pair) == 2 and all(type(pixel) is int for pixel in pair)  # noqa: PLR2004
        if not whole or not 0 <= pair[0] <= pair[1] < 12 * nside * nside:
            raise _wrong(f"{name}.ranges", pair, f"lists of first and last pixel, from 0 to {12 * nside * nside - 1}")
    if not ranges:
        raise _wrong(f"{name}.ranges", ranges, "a list of at least one range")
    return SkyMap(nside, tuple((first, last) for first, last in ranges))


def _night(name: str, value: object) -> str:
    text = _text(name, value)
    if len(text) > len("YYYYMMDD") or not text.isascii() or not text.isdigit():
        raise _wrong(name, value, "a date as YYYYMMDD, or the beginning of one")
    return text


def _key_range(name: str, value: object) -> tuple[str, str]:
    pair = _list(name, value)
    if len(pair) != 2 or not all(isinstance(key, str) for key in pair) or (pair[1] and pair[0] >= pair[1]):  # noqa: PLR2004
        raise _wrong(name, value, "two texts, the first key and the one behind the last; an empty text is an open end")
    return pair[0], pair[1]


def _choice(choices: tuple[str, ...]) -> Callable[[str, object], str]:
    def parse(name: str, value: object) -> str:
        if value not in choices:
            raise _wrong(name, value, f"one of {', '.join(choices)}")
        return str(value)

    return parse


_PARSERS: dict[str, Callable[[str, object], Any]] = {
    "table": _text,
    "ids": _ids,
    "cone": _cone,
    "class": _text,
    "sso": _text,
    "tracklet": _text,
    "name": _text,
    "night": _night,
    "skymap": _skymap,
    "all": _flag,
    "key_range": _key_range,
    "columns": _columns,
    "cutouts": _kinds,
    "cutout_format": _choice(CUTOUT_FORMATS),
    "upper_limits": _flag,
    "layout": _choice(LAYOUTS),
    "start": _moment,
    "stop": _moment,
    "limit": _positive,
    "limit_objects": _positive,
    "as_of": _positive,
    "resume_after": _text,
    "compression": _choice(COMPRESSIONS),
    "digest": _flag,
    "max_message_bytes": _message_bytes,
    "plan": _text,
}
