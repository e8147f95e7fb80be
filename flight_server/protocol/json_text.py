"""JSON objects out of untrusted text: exactly, with a reason for each refusal, and quickly, without one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from flight_server.protocol.errors import InvalidTicket

__all__ = ["decode_once", "load_object"]

T = TypeVar("T", bound=Mapping[str, Any])

# A colon behind a name: between them stands white space only. Colons in texts match too where a quote, escaped or opening,
# or white space is before them. (The lookbehind follows the colon, so that the search jumps from one colon to the next.)
_NAME_END = re.compile(rb':(?<=[" \t\n\r]:)')


def load_object(text: bytes) -> Mapping[str, Any]:
    """Decode JSON without repeated names or text that UTF-8 cannot hold; a NaN is left to its field's check.

    Raises
    ------
    InvalidTicket
        The text is not such an object; says why.

    Examples
    --------
    >>> load_object(b'{"table": "ztf"}')
    {'table': 'ztf'}
    """
    try:
        loaded = json.loads(text.decode("utf-8"), object_pairs_hook=_no_repeats)
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


def decode_once(text: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """Decode an object of a `TypedDict`, or return None where `load_object` has to look at the text.

    None says that the text is no such object, has an unknown name, or may have a repeated one. msgspec passes over unknown
    names and takes the last of repeated ones, so the names that it kept are counted. A text has at least that many, and at
    most as many as `_NAME_END` matches: where the two agree, each name was kept, and so was there once.

    Parameters
    ----------
    text
        UTF-8 JSON.
    decoder
        Of a `TypedDict` whose values may be of `TypedDict`s, but not lists of them.

    Examples
    --------
    >>> decoder = msgspec.json.Decoder(dict[str, int])
    >>> decode_once(b'{"a": 1, "b": 2}', decoder)
    {'a': 1, 'b': 2}
    >>> decode_once(b'{"a": 1, "a": 2}', decoder) is None
    True
    """
    try:
        found = decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return found if len(_NAME_END.findall(text)) == _count_names(found) else None


def _count_names(found: Mapping[str, Any]) -> int:
    return len(found) + sum(_count_names(value) for value in found.values() if type(value) is dict)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidTicket(f"the field {name!r:.80} stands twice", field=name)
        found[name] = value
    return found
