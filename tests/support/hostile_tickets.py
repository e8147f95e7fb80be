"""Tickets of about the largest size, each of which would be expensive to take literally."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from flight_server.protocol.query import MAX_TICKET_BYTES

FINEST = 12 * 1024**2  # pixels
TABLES = ("ztf", "ztf.pixel128")


def fitting(items: Iterator[str]) -> str:
    """Return a JSON list of as many items as fit in a ticket."""
    texts, size = [], 0
    for text in items:
        size += len(text) + 1
        if size > MAX_TICKET_BYTES - 200:
            break
        texts.append(text)
    return f"[{','.join(texts)}]"


def filled(before: dict[str, Any], name: str, value: str) -> bytes:
    """Return a ticket whose last field has a JSON value."""
    return f'{json.dumps(before, separators=(",", ":"))[:-1]},"{name}":{value}}}'.encode()


def in_map(table: str, nside: int, ranges: str, **more: Any) -> bytes:
    """Return a ticket with a sky map."""
    return filled({"table": table, **more}, "skymap", f'{{"nside":{nside},"ranges":{ranges}}}')


def for_ever(item: str) -> str:
    return fitting(itertools.repeat(item))


def pairs(found: Iterator[tuple[int, int]]) -> str:
    return fitting(f"[{first},{last}]" for first, last in found)


def hostile_tickets() -> Iterator[tuple[str, bytes]]:
    """Yield tickets with their names."""
    text = "x" * (MAX_TICKET_BYTES - 200)
    whole, half, large = for_ever(f"[0,{FINEST - 1}]"), for_ever(f"[1,{FINEST // 2}]"), for_ever("[0,11]")
    for table in TABLES:
        yield f"the whole sky, again and again, {table}", in_map(table, 1024, whole)
        yield f"the whole sky, again and again, with a limit, {table}", in_map(table, 1024, whole, limit=1)
        yield f"half of the sky, {table}", in_map(table, 1024, half)
        yield f"the twelve largest pixels, {table}", in_map(table, 1, large)
    table = "ztf"
    yield "ranges with one end", in_map(table, 1024, pairs((7 + number, FINEST - 1) for number in range(10**6)))
    yield "pixels apart", in_map(table, 1024, pairs((number, number) for number in range(0, FINEST, 160)))
    rings = ((number, number + 190) for number in range(0, FINEST - 200, 200))
    yield "nearly everything in pieces", in_map(table, 1024, pairs(rings))
    yield "every pixel, one by one", in_map(table, 128, pairs((number, number) for number in range(12 * 128**2)))
    yield "numbers without end", in_map(table, 1024, for_ever(f"[0,{10**4000}]"))
    short = fitting(f'"{number}"' for number in range(10**6))
    for layout in ({}, {"layout": "nested", "columns": ["i:jd"]}, {"upper_limits": True}, {"cutouts": ["Science"]}, {"limit": 1}):
        yield f"many short IDs {layout}", filled({"table": "ztf", **layout}, "ids", short)
    longest = itertools.chain([f'"{"y" * 1000}"'], (f'"{number}"' for number in range(10**6)))
    yield "one long ID beside many short ones", filled({"table": "ztf"}, "ids", fitting(longest))
    yield "IDs as long as keys", filled({"table": "ztf"}, "ids", fitting(f'"{number:01000d}"' for number in range(2000)))
    yield "numbers as IDs", filled({"table": "ztf"}, "ids", fitting(str(number) for number in range(10**6)))
    yield "one ID", json.dumps({"table": "ztf", "ids": [text]}).encode()
    yield "columns that do not exist", filled({"table": "ztf", "all": True}, "columns", fitting(f'"i:{n}"' for n in range(10**6)))
    yield "one column again and again", filled({"table": "ztf", "all": True}, "columns", for_ever('"i:jd"'))
    yield "a long column", json.dumps({"table": "ztf", "all": True, "columns": [text]}).encode()
    yield "a long derived column", json.dumps({"table": "ztf", "all": True, "columns": ["v:" + text]}).encode()
    yield "a long table", json.dumps({"table": text, "all": True}).encode()
    for field, table in (
        ("class", "ztf.class"),
        ("sso", "ztf.ssnamenr"),
        ("tracklet", "ztf.tracklet"),
        ("name", "ztf.tns_resolver"),
    ):
        yield f"a long {field}", json.dumps({"table": table, field: text}).encode()
    for field in ("night", "start", "stop", "resume_after", "plan", "as_of", "layout", "compression"):
        yield f"a long {field}", json.dumps({"table": "ztf", "all": True, field: text}).encode()
        yield f"digits as {field}", json.dumps({"table": "ztf", "all": True, field: "1" * len(text)}).encode()
    yield "a long key range", json.dumps({"table": "ztf", "all": True, "key_range": [text, ""]}).encode()
    yield "the longest limit", json.dumps({"table": "ztf", "all": True, "limit": 2**63 - 1, "limit_objects": 2**63 - 1}).encode()
    yield (
        "times at the ends",
        json.dumps({"table": "ztf.class", "class": "SN candidate", "start": -(2**62), "stop": 2**62}).encode(),
    )
    yield "a number of many digits", b'{"table": "ztf", "all": true, "limit": ' + b"9" * (MAX_TICKET_BYTES - 200) + b"}"
    yield "many fields", json.dumps({"table": "ztf", "all": True} | {f"f{number}": 1 for number in range(80_000)}).encode()
    yield "one field again and again", b'{"table": "ztf"' + b',"all":true' * 90_000 + b"}"
    for begin, end in ((b"[", b"]"), (b'{"a":', b"}")):
        depth = (MAX_TICKET_BYTES - 200) // (len(begin) + len(end))
        deep = begin * depth + b"1" + end * depth
        yield f"lists in lists {begin!r}", deep
        yield f"lists in lists within IDs {begin!r}", b'{"table": "ztf", "ids": ' + deep + b"}"
        yield f"lists in lists without an end {begin!r}", begin * ((MAX_TICKET_BYTES - 200) // len(begin))
        yield f"lists in lists within a sky map {begin!r}", b'{"table": "ztf", "skymap": {"nside": 1, "ranges": ' + deep + b"}}"
    yield "escapes", b'{"table": "ztf", "ids": ["' + rb"\u0041" * 170_000 + b'"]}'
    yield "colons", b'{"table": "ztf", "ids": ["' + b'\\":' * 300_000 + b'"]}'
    yield (
        "the digest of large messages",
        json.dumps(
            {
                "table": "ztf",
                "all": True,
                "digest": True,
                "max_message_bytes": 67_108_864,
                "layout": "nested",
                "upper_limits": True,
            }
        ).encode(),
    )
