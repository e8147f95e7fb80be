"""Tables, declared in config/tables/*.yml."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import msgspec

from flight_server.catalog.conditions import Where, where_words

__all__ = ["Added", "Pixels", "Points", "Selection", "Table", "table_words"]

REST = ":*"  # suffix of a family: all of its cells
_PARTS = re.compile(r"\{([^}]*)\}")
_SALT = re.compile(r"(last|inner|lowerlast)\d+\(.*\)")


class Added(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tables with further rows of an object, such as upper limits, and the column that tags rows by table.

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
    form
        `designation` if the ticket may have a designation of the solar system as it is written, which keys have packed.
    """

    column: str
    prefix: bool = False
    lower: bool = False
    known: tuple[str, ...] = ()
    form: Literal["designation"] | None = None


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
    prefix. Cells are those of its `structs`, of which the first has a name that several have. Of its `further` families also
    cells that the catalog does not know are stored. `made` are cells that repeat a part of the key. A table of a `history`
    that is not the first names it; one `with_history` is filled with `ingest --history` only. `id_prefix` is how IDs begin
    in texts of the survey. `tagged` is how the names of tables begin that have its alerts by tag.
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
    upper_limits: Added | None = None
    forced: Added | None = None
    structs: tuple[str, ...] = ()
    made: Mapping[str, str] = msgspec.field(default_factory=dict)
    history: str = ""
    with_history: bool = False
    id_prefix: str = ""
    tagged: str = ""
    splits: tuple[str, ...] = ()
    select: Mapping[str, Selection] = msgspec.field(default_factory=dict)
    pixels: Pixels | None = None
    cone: str | None = None
    newest_first: bool = False

    @property
    def by_object(self) -> bool:
        """Whether row keys begin with the object ID, so that rows can be selected by it."""
        parts: list[str] = _PARTS.findall(self.key)
        return next(part for part in parts if not _SALT.fullmatch(part)) == self.id

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


def table_words(words: Mapping[str, Any], known: Collection[str] = ()) -> dict[str, Any]:
    """Return a declaration in the form of `Table`.

    Columns are declared as names, lists of names, families with `:*`, or `*` alone; of `further` families the cells are
    stored whose names are not `known`.
    """
    found = dict(words)
    named = words.get("columns")
    if named == "*":
        found["columns"] = None
    elif named is not None:
        names = list(dict.fromkeys(_flat(named)))
        found["columns"] = [column for column in names if not column.endswith(REST)]
        further = found.pop("further", [])
        found["rest"] = [*(column.removesuffix(REST) for column in names if column.endswith(REST)), *further]
        others = (name for name in known if name.partition(":")[0] in further and name not in found["columns"])
        found["without"] = [*words.get("without", ()), *others]
    if "where" in words:
        found["where"] = where_words(words["where"])
    if "points" in words:
        found["points"] = {**words["points"], "where": where_words(words["points"]["where"])}
    return found


def _flat(names: Collection[Any]) -> Iterator[str]:
    for name in names:
        if isinstance(name, str):
            yield name
        else:
            yield from _flat(name)
