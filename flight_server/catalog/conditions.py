"""Conditions on rows, as config/tables/*.yml declares them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["Condition", "Where", "where_words"]

Number = int | float  # an integer stays one


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"equal": "is", "among": "in"}):
    """What a row's cell must be. A null meets only `missing`.

    Parameters
    ----------
    missing
        Whether there is no value.
    min, max, below
        At least, at most, and less than this.
    equal, among
        This value, or any of these.
    begins
        A text that begins so.
    """

    missing: bool | None = None
    min: Number | None = None
    max: Number | None = None
    below: Number | None = None
    equal: str | Number | None = None
    among: tuple[str, ...] | None = None
    begins: str | None = None


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"excluded": "not"}):
    """A row is meant if it meets all of `conditions`, does not meet `excluded`, and meets one of `either`, where given."""

    conditions: Mapping[str, Condition]
    excluded: Where | None = None
    either: tuple[Where, ...] = ()

    def columns(self) -> set[str]:
        """Return the names of the columns that the test looks at."""
        parts = (*self.either, *((self.excluded,) if self.excluded else ()))
        return set(self.conditions).union(*(part.columns() for part in parts))


def where_words(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words of a `Where`, whose conditions are declared beside `not` and `either`.

    >>> where_words({"i:rb": {"min": 0.5}, "not": {"i:nbad": {"is": 0}}})
    {'conditions': {'i:rb': {'min': 0.5}}, 'not': {'conditions': {'i:nbad': {'is': 0}}}}
    """
    found: dict[str, Any] = {"conditions": {name: words[name] for name in words if name not in {"not", "either"}}}
    if "not" in words:
        found["not"] = where_words(words["not"])
    if "either" in words:
        found["either"] = [where_words(each) for each in words["either"]]
    return found
