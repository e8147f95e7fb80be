"""The declarations in config/tables/*.yml: how a survey's alerts become rows of tables.

Values only; what acts on them is `ingest` (cells and rows) and `storage` (row keys).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from flight_server.settings.resources import load_folder

__all__ = [
    "AlertLayout",
    "BlockLayout",
    "Condition",
    "Family",
    "Nested",
    "Pixels",
    "Points",
    "Selection",
    "Survey",
    "Table",
    "UpperLimits",
    "Where",
    "load_surveys",
]

RowSource = str  # alerts | stamps | history | loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
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
    min: float | None = None
    max: float | None = None
    below: float | None = None
    equal: str | int | float | None = None
    among: tuple[str, ...] | None = None
    begins: str | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """A row is meant if it meets all of `conditions`, does not meet `excluded`, and meets one of `either`, where given."""

    conditions: Mapping[str, Condition]
    excluded: Where | None = None
    either: tuple[Where, ...] = ()

    def columns(self) -> set[str]:
        """Give the names of the columns that the test looks at."""
        parts = (*self.either, *((self.excluded,) if self.excluded else ()))
        return set(self.conditions).union(*(part.columns() for part in parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Where the cells of a column family stand in an alert: a struct, root fields, or all that is left."""

    struct: str | None = None
    root: tuple[str, ...] = ()
    rest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """A broker value of several parts: one cell for each of `cells`, or one text of `text` in that order."""

    cells: tuple[str, ...] = ()
    text: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """Where a survey's blocks of stamps have what is searched: columns of the files, paths with dots.

    Parameters
    ----------
    alert_id
        The alert's own ID.
    stamps
        The stamps of each kind.
    object_id
        The object's ID, which must agree too; None where the alert's alone is looked at.
    """

    alert_id: str
    stamps: Mapping[str, str] = field(hash=False)
    object_id: str | None = None


@dataclass(frozen=True, slots=True)
class AlertLayout:
    """How a survey's alert packets are recognised and read."""

    recognised_by: tuple[str, ...]
    alert_id: str
    families: Mapping[str, Family]
    history: str
    stamps: Mapping[str, str]
    block: BlockLayout
    version: tuple[str, ...]
    nested: Mapping[str, Nested]
    not_stored: frozenset[str]
    computed: Mapping[str, str] = field(default_factory=dict)  # stored columns that ingest makes, by the derived column

    @property
    def stamp_columns(self) -> dict[str, str]:
        """The column of each kind of stamp, `b:cutoutScience_stampData` for `cutoutScience.stampData`."""
        return {kind: "b:" + path.replace(".", "_") for kind, path in self.stamps.items()}


@dataclass(frozen=True, slots=True)
class UpperLimits:
    """Which tables hold an object's limits and bad points, and the tag that marks whose row is whose.

    Rows of the tables in `hidden_by_own` are left out at the time of one of the object's own rows.
    """

    tag: str
    own: str
    add: Mapping[str, str]
    hidden_by_own: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
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


@dataclass(frozen=True, slots=True)
class Pixels:
    """The HEALPix pixels, numbered as rings, with which a table's keys begin, and the columns that the position is in."""

    nside: int
    ra: str
    dec: str


@dataclass(frozen=True, slots=True)
class Points:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: which rows go in, under which key, and what its columns are.

    `columns` are those by name, None for all of the families; `rest` are the families of which all other cells
    go in too. `latest` says what is compared where a row overwrites one of its key.
    """

    name: str
    survey: str
    description: str
    rows: RowSource
    key: str
    families: tuple[str, ...]
    columns: tuple[str, ...] | None
    id: str
    on_equal_key: str
    rest: frozenset[str] = frozenset()
    time: str | None = None
    time_format: str = "jd"
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
    select: Mapping[str, Selection] = field(default_factory=dict)
    pixels: Pixels | None = None
    cone: str | None = None
    newest_first: bool = False

    @property
    def by_object(self) -> bool:
        """Whether row keys begin with the object's ID, so that rows can be asked for by it."""
        return self.key.partition("{")[2].partition("}")[0] == self.id

    def takes(self, name: str) -> bool:
        """Say whether the table has a place for cells of this name."""
        family = name.partition(":")[0]
        if family not in self.families or name in self.without:
            return False
        return self.columns is None or name in self.columns or family in self.rest


@dataclass(frozen=True, slots=True)
class Survey:
    """A survey: its alerts and its tables."""

    name: str
    alerts: AlertLayout
    tables: Mapping[str, Table] = field(default_factory=dict)

    @property
    def alert_table(self) -> Table:
        """The table that has a row with all cells for each alert."""
        return next(
            table for table in self.tables.values() if table.rows == "alerts" and table.columns is None and not table.where
        )


@cache
def load_surveys() -> Mapping[str, Survey]:
    """Load every packaged declaration, by the survey's name."""
    return MappingProxyType({survey.name: survey for survey in map(parse_survey, load_folder("tables"))})


def parse_survey(declared: Mapping[str, Any]) -> Survey:
    """Read one declaration; a word that is not known raises TypeError, one that is missing KeyError."""
    _only(declared, ("survey", "alerts", "tables"))
    name = declared["survey"]
    tables = {table: _table(name, table, words) for table, words in declared["tables"].items()}
    return Survey(name, _alerts(declared["alerts"]), MappingProxyType(tables))


def _alerts(words: Mapping[str, Any]) -> AlertLayout:
    known = ("recognised_by", "alert_id", "cells", "history", "stamps", "blocks", "version", "nested", "not_stored", "computed")
    _only(words, known)
    return AlertLayout(
        recognised_by=tuple(words["recognised_by"]),
        alert_id=words["alert_id"],
        families={f: Family(**_tuples(w)) for f, w in words["cells"].items()},
        history=words["history"],
        stamps=MappingProxyType(words["stamps"]),
        block=BlockLayout(stamps=MappingProxyType(words["stamps"]), **words["blocks"]),
        version=tuple(words["version"]),
        nested={n: Nested(**_tuples(w)) for n, w in words["nested"].items()},
        not_stored=frozenset(words["not_stored"]),
        computed=MappingProxyType(words.get("computed", {})),
    )


def _table(survey: str, name: str, words: Mapping[str, Any]) -> Table:
    given = _tuples(words)
    named = words["columns"]
    if named == "*":
        given["columns"] = None
    else:
        given["columns"] = tuple(column for column in named if not column.endswith(REST))
        given["rest"] = frozenset(column.removesuffix(REST) for column in named if column.endswith(REST))
    if "where" in given:
        given["where"] = _where(words["where"])
    if "upper_limits" in given:
        given["upper_limits"] = UpperLimits(**_tuples(words["upper_limits"]))
    if "points" in given:
        given["points"] = Points(**{**_tuples(words["points"]), "where": _where(words["points"]["where"])})
    if "select" in given:
        given["select"] = MappingProxyType(
            {asked: Selection(**_tuples(selection)) for asked, selection in words["select"].items()}
        )
    if "pixels" in given:
        given["pixels"] = Pixels(**words["pixels"])
    table = Table(name=name, survey=survey, **given)
    if table.on_equal_key not in EQUAL_KEYS:
        raise TypeError(f"{name} has on_equal_key: {table.on_equal_key}, which is none of {', '.join(EQUAL_KEYS)}")
    return table


def _where(words: Mapping[str, Any]) -> Where:
    conditions = {
        c: Condition(**{_WORDS.get(k, k): v for k, v in _tuples(w).items()}) for c, w in words.items() if c not in _OF_WHERE
    }
    excluded = _where(words["not"]) if "not" in words else None
    return Where(conditions, excluded, tuple(map(_where, words.get("either", ()))))


REST = ":*"  # behind a family: all of its cells
EQUAL_KEYS = ("merge", "overwrite")
_WORDS = {"is": "equal", "in": "among"}
_OF_WHERE = ("not", "either")


def _tuples(words: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in words.items()}


def _only(words: Mapping[str, Any], known: Iterable[str]) -> None:
    unknown = set(words) - set(known)
    if unknown:
        raise TypeError(f"a declaration has no word {', '.join(sorted(unknown))}")
