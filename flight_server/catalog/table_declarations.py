"""Tables, declared in config/tables/*.yml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from flight_server.catalog.conditions import Where, where_words

__all__ = ["Pixels", "Points", "Selection", "Table", "UpperLimits", "table_words"]

REST = ":*"  # suffix of a family: all of its cells


class UpperLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tables with an object's upper limits and bad points, and the column that tags rows by table.

    A row of a table in `hidden_by_own` is left out if the object has a row of its own table at the same time.
    """

    tag: str
    own: str
    add: Mapping[str, str]
    hidden_by_own: tuple[str, ...] = ()


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The selection by a ticket field: rows whose key begins with the field's value.

    Parameters
    ----------
    column
        The column of the first part of the row key, or the part's own name if it is no column.
    prefix
        Whether the ticket has a prefix of the value.
    lower
        Whether keys have the value in lower case.
    known
        The lists of config/classes with the known values: `fink`, `tns`, `simbad`.
    """

    column: str
    prefix: bool = False
    lower: bool = False
    known: tuple[str, ...] = ()


class Pixels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HEALPix pixels (RING order) that begin a table's row keys, and the columns of the position."""

    nside: int
    ra: str
    dec: str


class Points(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The points of histories that are rows of a table of alerts where there is no alert.

    Parameters
    ----------
    where
        The condition on points.
    lacks
        A column that is null in points and never in alerts.
    latest
        The columns that decide between points with the same key: the larger values win.
    """

    where: Where
    lacks: str
    latest: tuple[str, ...]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table: its rows, row key and columns.

    `columns` are the columns by name, None for all of the families; `rest` are the families whose other cells are stored
    too. `latest` are the columns that decide which of several rows with one key is kept. `alert_id` is the column with
    the ID of the alert. Of `joined` columns loaded files may have the parts, of `listed` ones several values in one
    column of the file. `from_key` are columns that are read out of the row key, `key_only` further ones that have no cells.
    In a table with `text_cells` that has no schema row every cell is text. The name of a table with `fixed_name` takes no
    prefix.
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
    alert_id: str = ""
    rest: frozenset[str] = frozenset()
    time: str | None = None
    time_format: Literal["jd", "mjd"] = "jd"
    latest: tuple[str, ...] = ()
    where: Where | None = None
    if_last: bool = False
    without: tuple[str, ...] = ()
    from_key: tuple[str, ...] = ()
    key_only: tuple[str, ...] = ()
    text_cells: bool = False
    fixed_name: bool = False
    points: Points | None = None
    aliases: tuple[str, ...] = ()
    joined: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    listed: Mapping[str, str] = msgspec.field(default_factory=dict)
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
        """Whether row keys begin with the object ID, so that rows can be selected by it."""
        return self.key.partition("{")[2].partition("}")[0] == self.id

    @property
    def in_key(self) -> frozenset[str]:
        """The columns that are read out of the row key."""
        return frozenset(self.from_key + self.key_only)

    @property
    def keeps_each_alert(self) -> bool:
        """Whether each alert has a row of its own, whatever other alerts there are."""
        return self.rows in {"alerts", "stamps"} and self.on_equal_key == "merge" and self.takes(self.alert_id)

    def takes(self, name: str) -> bool:
        """Return whether the table stores cells of this column."""
        family = name.partition(":")[0]
        if family not in self.families or name in self.without or name in self.key_only:
            return False
        return self.columns is None or name in self.columns or family in self.rest

    def has(self, name: str) -> bool:
        """Return whether rows have this column, as a cell or in their key."""
        return self.takes(name) or name in self.key_only


def table_words(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return a declaration in the form of `Table`: columns are declared as names, families with `:*`, or `*` alone."""
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
