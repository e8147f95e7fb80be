"""The declarations in config/simulated: which values of an alert a simulated sky replaces."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import msgspec

from flight_server.settings.resources import load_folder

__all__ = ["History", "Names", "Night", "Recipe", "load_recipes"]


class Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The IDs of objects: a prefix and so many letters, or numbers from the first on."""

    prefix: str = ""
    letters: int = 0
    first: int | None = None


class Night(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The nights: the first one and 1970-01-01 in the survey's format of times, dusk and length as parts of the UTC day."""

    first: float
    epoch: float
    dusk: float
    dark: float


class History(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A list of earlier points: the fields of their time and of the ID of their object, and how many are kept, the last ones."""

    time: str
    object: str | None = None
    most: int | None = None


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the alerts of a survey are made.

    Parameters
    ----------
    survey
        The survey.
    template
        The file of real alerts in the package.
    names, first_alert
        The IDs of objects, and the first ID of an alert.
    night
        The nights.
    sines
        The range of the sines of declinations.
    bands
        The filters, as alerts have them.
    values
        The paths in an alert at which each value of the sky stands.
    histories
        The lists of earlier points, by name.
    night_number
        The number of the first night, where alerts number them.
    file_alerts
        The alerts of a file, with and without cutouts: about as many as in those of the broker, and no more than fit into
        memory.
    """

    survey: str
    template: str
    names: Names
    first_alert: int
    night: Night
    sines: tuple[float, float]
    bands: tuple[str | int, ...]
    values: Mapping[str, tuple[str, ...]]
    histories: Mapping[str, History]
    file_alerts: tuple[int, int]
    night_number: int = 0


@cache
def load_recipes() -> Mapping[str, Recipe]:
    """Load every packaged declaration, by the survey's name."""
    found = (msgspec.convert(words, Recipe) for words in load_folder("simulated"))
    return MappingProxyType({recipe.survey: recipe for recipe in found})
