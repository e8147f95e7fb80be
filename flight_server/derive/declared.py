"""The declarations in config/derived: derived columns, their inputs and their functions."""

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

OBJECTS = "objects"  # the parameter of functions over objects with the object of each row
OVER = ("row", "object")


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """A function with its input and output columns.

    Parameters
    ----------
    function
        `MODULE.NAME` within flight_server.derive.
    over
        `row`, or `object` if the function needs all rows of an object.
    needs
        The stored column for each parameter.
    optional
        The same for parameters that are None if the column is not stored.
    given
        Parameters from the request.
    columns
        The output columns, in order.
    """

    function: str
    over: str
    needs: Mapping[str, Column]
    optional: Mapping[str, Column]
    given: tuple[str, ...]
    columns: tuple[Column, ...]

    def load(self) -> Callable[..., Any]:
        """Import and return the function; its dependencies are loaded only now."""
        module, _, name = self.function.partition(".")
        function: Callable[..., Any] = getattr(import_module(f"flight_server.derive.{module}"), name)
        return function


@dataclass(frozen=True, slots=True)
class DerivedColumn:
    """A derived column, and its derivation."""

    column: Column
    derivation: Derivation

    @property
    def name(self) -> str:
        """The name in tickets."""
        return self.column.name

    @property
    def needs(self) -> tuple[str, ...]:
        """The stored columns that it requires."""
        return tuple(column.name for column in self.derivation.needs.values())

    def reads(self, stored: Container[str]) -> tuple[str, ...]:
        """Return the columns to read for it from a table with the columns `stored`."""
        optional = (column.name for column in self.derivation.optional.values())
        return self.needs + tuple(name for name in optional if name in stored)

    def missing(self, stored: Container[str]) -> tuple[str, ...]:
        """Return the required columns that are not in `stored`."""
        return tuple(name for name in self.needs if name not in stored)


@cache
def load_derived(survey: str) -> Mapping[str, DerivedColumn]:
    """Load the derived columns of a survey, by name, in the order of their declaration.

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
    """Parse one entry; raise TypeError on an unknown word, KeyError on a missing one or an unknown column."""
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
