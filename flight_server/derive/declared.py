"""The declarations in config/derived: which columns can be made, from what, by which function."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.columns import TYPES, Column
from flight_server.settings.resources import load_folder

__all__ = ["OBJECTS", "Derivation", "DerivedColumn", "load_derived"]

OBJECTS = "objects"  # the parameter of functions over objects that says which row is whose
OVER = ("row", "object")


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """One function with its columns: what goes in and what comes out.

    Parameters
    ----------
    function
        `MODULE.NAME` within flight_server.derive.
    over
        `row`, or `object` if all rows of an object have to be there.
    needs
        The stored column for each parameter.
    optional
        The same for parameters that are None where the column is not stored.
    given
        Parameters that a request brings.
    columns
        What comes out, in order.
    """

    function: str
    over: str
    needs: Mapping[str, Column]
    optional: Mapping[str, Column]
    given: tuple[str, ...]
    columns: tuple[Column, ...]

    def load(self) -> Callable[..., Any]:
        """Import the function; what it depends on is loaded no sooner."""
        module, _, name = self.function.partition(".")
        function: Callable[..., Any] = getattr(import_module(f"flight_server.derive.{module}"), name)
        return function


@dataclass(frozen=True, slots=True)
class DerivedColumn:
    """One column that can be made, and how."""

    column: Column
    derivation: Derivation

    @property
    def name(self) -> str:
        """The name as tickets have it."""
        return self.column.name

    @property
    def needs(self) -> tuple[str, ...]:
        """The stored columns without which it cannot be made."""
        return tuple(column.name for column in self.derivation.needs.values())

    def reads(self, stored: Container[str]) -> tuple[str, ...]:
        """Give the columns to read for it from a table that has the columns `stored`."""
        optional = (column.name for column in self.derivation.optional.values())
        return self.needs + tuple(name for name in optional if name in stored)

    def missing(self, stored: Container[str]) -> tuple[str, ...]:
        """Give those of the needed columns that are not in `stored`."""
        return tuple(name for name in self.needs if name not in stored)


@cache
def load_derived(survey: str) -> Mapping[str, DerivedColumn]:
    """Load the derived columns of a survey, by name, in the order in which they are declared.

    >>> load_derived("ztf")["v:lapse"].needs
    ('i:jd', 'i:jdstarthist')
    """
    made: dict[str, DerivedColumn] = {}
    for declared in load_folder("derived"):
        if declared["survey"] == survey:
            known = load_catalog().known[survey]
            for words in declared["derivations"]:
                derivation = parse_derivation(words, known)
                made |= {column.name: DerivedColumn(column, derivation) for column in derivation.columns}
    return MappingProxyType(made)


def parse_derivation(words: Mapping[str, Any], known: Mapping[str, Column]) -> Derivation:
    """Read one entry; a word that is not known raises TypeError, one that is missing or an unknown column KeyError."""
    unknown = set(words) - {"function", "over", "needs", "optional", "given", "columns"}
    if unknown or words["over"] not in OVER:
        raise TypeError(f"{words['function']} is declared with {', '.join(sorted(unknown)) or words['over']}")
    columns = words["columns"].items()
    return Derivation(
        function=words["function"],
        over=words["over"],
        needs=MappingProxyType({role: known[name] for role, name in words["needs"].items()}),
        optional=MappingProxyType({role: known[name] for role, name in words.get("optional", {}).items()}),
        given=tuple(words.get("given", ())),
        columns=tuple(Column(name=n, **{**w, "type": TYPES[w["type"]], "origin": "derived"}) for n, w in columns),
    )
