"""Tables, as config/tables/*.yml declares them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from flight_server.catalog.conditions import Where, where_words

__all__ = ["Pixels", "Points", "Selection", "Table", "UpperLimits", "table_words"]

REST = ":*"  # behind a family: all of its cells


class UpperLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tables hold an object's limits and bad points, and the tag that marks whose row is whose.

    Rows of the tables in `hidden_by_own` are left out at the time of one of the object's own rows.
    """

    tag: str
    own: str
    add: Mapping[str, str]
    hidden_by_own: tuple[str, ...] = ()


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a ticket's field selects rows by: the first part of the row key, given by its column.

    Parameters
    ----------
    column
        The column that makes this part of the key, or the part's own name where no column does.
    prefix
        Whether what the ticket has is only the beginning of the value.
    lower
        Whether keys have the value in lower case.
    known
        The lists of config/classes that the value should be in: `fink`, `tns`, `simbad`.
    """

    column: str
    prefix: bool = False
    lower: bool = False
    known: tuple[str, ...] = ()


class Pixels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HEALPix pixels, numbered as rings, with which a table's keys begin, and the columns that the position is in."""

    nside: int
    ra: str
    dec: str


class Points(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which points of histories may stand in a table of alerts, where there is no alert.

    Parameters
    ----------
    where
        What they have to be.
    lacks
        A column that every alert has and no point.
    latest
        What is compared where points meet under one key: the one with the larger values stands.
    """

    where: Where
    lacks: str
    latest: tuple[str, ...]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table: which rows go in, under which key, and what its columns are.

    `columns` are those by name, None for all of the families; `rest` are the families of which all other cells
    go in too. `latest` says what is compared where a row overwrites one of its key.
    """

    name: str
    survey: str
    description: str
    rows: Literal["alerts", "stamps", "history", "loaded"]
    key: str
    families: tuple[str, ...]
    columns: tuple[str, ...] | None
    id: str
    on_equal_key: Literal["merge", "overwrite"]
    rest: frozenset[str] = frozenset()
    time: str | None = None
    time_format: Literal["jd", "mjd"] = "jd"
    latest: tuple[str, ...] = ()
    where: Where | None = None
    if_last: bool = False
    without: tuple[str, ...] = ()
    points: Points | None = None
    aliases: tuple[str, ...] = ()
    cutouts: str | None = None
    path: str | None = None
    upper_limits: UpperLimits | None = None
    splits: tuple[str, ...] = ()
    select: Mapping[str, Selection] = msgspec.field(default_factory=dict)
    pixels: Pixels | None = None
    cone: str | None = None
    newest_first: bool = False

    @property
    def by_object(self) -> bool:
        """Whether row keys begin with the object's ID, so that rows can be asked for by it."""
        return self.key.partition("{")[2].partition("}")[0] == self.id

    def takes(self, name: str) -> bool:
        """Return whether the table has a place for cells of this name."""
        family = name.partition(":")[0]
        if family not in self.families or name in self.without:
            return False
        return self.columns is None or name in self.columns or family in self.rest


def table_words(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words of a `Table`, whose columns are declared as names, families with `:*`, or `*` alone."""
    found = dict(words)
    named = words.get("columns")
    if named == "*":
        found["columns"] = None
    elif named is not None:
        found["columns"] = [column for column in named if not column.endswith(REST)]
        found["rest"] = [column.removesuffix(REST) for column in named if column.endswith(REST)]
    if "where" in words:
        found["where"] = where_words(words["where"])
    if "points" in words:
        found["points"] = {**words["points"], "where": where_words(words["points"]["where"])}
    return found
