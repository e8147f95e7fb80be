"""Conditions on rows, declared in config/tables/*.yml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["Condition", "Where", "where_words"]

Number = int | float  # integers are not converted to floats


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"equal": "is", "among": "in"}):
    """A condition on one cell. A null meets only `missing`.

    Parameters
    ----------
    missing
        The cell is null (true) or has a value (false).
    min, max, below
        At least, at most, less than this.
    equal, among
        Equal to this value, or to one of these.
    begins
        A text with this prefix.
    """

    missing: bool | None = None
    min: Number | None = None
    max: Number | None = None
    below: Number | None = None
    equal: str | bool | Number | None = None
    among: tuple[str, ...] | None = None
    begins: str | None = None


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"excluded": "not"}):
    """A condition on rows: all of `conditions`, not `excluded`, and one of `either`, if these are given."""

    conditions: Mapping[str, Condition]
    excluded: Where | None = None
    either: tuple[Where, ...] = ()

    def columns(self) -> set[str]:
        """Return the names of the columns in the conditions."""
        parts = (*self.either, *((self.excluded,) if self.excluded else ()))
        return set(self.conditions).union(*(part.columns() for part in parts))


def where_words(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return a declaration in the form of `Where`: the conditions are declared beside `not` and `either`.

    >>> where_words({"i:rb": {"min": 0.5}, "not": {"i:nbad": {"is": 0}}})
    {'conditions': {'i:rb': {'min': 0.5}}, 'not': {'conditions': {'i:nbad': {'is': 0}}}}
    """
    found: dict[str, Any] = {"conditions": {name: words[name] for name in words if name not in {"not", "either"}}}
    if "not" in words:
        found["not"] = where_words(words["not"])
    if "either" in words:
        found["either"] = [where_words(each) for each in words["either"]]
    return found
