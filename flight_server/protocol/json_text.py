"""Decoders of JSON objects in untrusted text: a strict one that explains each refusal, and a fast one that does not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from flight_server.protocol.errors import InvalidTicket

__all__ = ["decode_once", "load_object"]

T = TypeVar("T", bound=Mapping[str, Any])

# The colon after a name; only white space is between them. Colons in strings match too if a quote (escaped or opening) or
# white space is before them. The lookbehind follows the colon, so that the search jumps from one colon to the next.
_NAME_END = re.compile(rb':(?<=[" \t\n\r]:)')


def load_object(text: bytes) -> Mapping[str, Any]:
    """Decode a JSON object; refuse repeated names and text that UTF-8 cannot encode. NaN is left to the check of its field.

    Raises
    ------
    InvalidTicket
        The text is no such object; names the reason.

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
    except ValueError:  # a number with more digits than Python reads
        raise InvalidTicket("the ticket holds a number that is too long", field="ticket") from None
    if not isinstance(loaded, dict):
        raise InvalidTicket("the ticket is not a JSON object", field="ticket")
    return loaded


def decode_once(text: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """Decode an object of a `TypedDict`, or return None if `load_object` has to check the text.

    None means that the text is no such object, has an unknown name, or may have a repeated one. msgspec ignores unknown
    names and keeps the last of repeated ones, so the names that it kept are counted. A text has at least that many names,
    and at most as many as `_NAME_END` matches: if the two counts agree, every name was kept and occurs once.

    Parameters
    ----------
    text
        UTF-8 JSON.
    decoder
        A decoder of a `TypedDict`. Values may be `TypedDict`s, but not lists of them.

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
            raise InvalidTicket(f"the field {name!r:.80} occurs twice", field=name)
        found[name] = value
    return found
