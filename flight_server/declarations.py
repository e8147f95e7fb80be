"""The declarations in config/tables/*.yml: how a survey's alerts become rows of tables.

Values only; what acts on them is `ingest` (cells and rows) and `storage` (row keys).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from flight_server.resources import load_folder

__all__ = ["AlertLayout", "BlockLayout", "Condition", "Family", "Nested", "Survey", "Table", "UpperLimits", "load_surveys"]

RowSource = str  # alerts | stamps | history


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a row's cell must be: missing or not, at least, at most, equal. A null meets only `missing`."""

    missing: bool | None = None
    min: float | None = None
    max: float | None = None
    equal: str | int | float | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """A row is meant if it meets all of `conditions` and, where given, does not meet `excluded`."""

    conditions: Mapping[str, Condition]
    excluded: Where | None = None

    def columns(self) -> set[str]:
        """Give the names of the columns that the test looks at."""
        return set(self.conditions) | (self.excluded.columns() if self.excluded else set())


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: which rows go in, under which key, and what its columns are."""

    name: str
    survey: str
    description: str
    rows: RowSource
    key: str
    families: tuple[str, ...]
    columns: tuple[str, ...] | None
    id: str
    time: str
    time_format: str
    on_equal_key: str
    where: Where | None = None
    if_last: bool = False
    without: tuple[str, ...] = ()
    cutouts: str | None = None
    path: str | None = None
    upper_limits: UpperLimits | None = None
    splits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """A survey: its alerts and its tables."""

    name: str
    alerts: AlertLayout
    tables: Mapping[str, Table] = field(default_factory=dict)

    @property
    def alert_table(self) -> Table:
        """The table that has a row for each alert."""
        return next(table for table in self.tables.values() if table.rows == "alerts")


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
    _only(words, ("recognised_by", "alert_id", "cells", "history", "stamps", "blocks", "version", "nested", "not_stored"))
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
    )


def _table(survey: str, name: str, words: Mapping[str, Any]) -> Table:
    given = _tuples(words)
    given["columns"] = None if words["columns"] == "*" else given["columns"]
    if "where" in given:
        given["where"] = _where(words["where"])
    if "upper_limits" in given:
        given["upper_limits"] = UpperLimits(**_tuples(words["upper_limits"]))
    return Table(name=name, survey=survey, **given)


def _where(words: Mapping[str, Any]) -> Where:
    conditions = {c: Condition(**{_WORDS.get(k, k): v for k, v in w.items()}) for c, w in words.items() if c != "not"}
    return Where(conditions, _where(words["not"]) if "not" in words else None)


_WORDS = {"is": "equal"}


def _tuples(words: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in words.items()}


def _only(words: Mapping[str, Any], known: Iterable[str]) -> None:
    unknown = set(words) - set(known)
    if unknown:
        raise TypeError(f"a declaration has no word {', '.join(sorted(unknown))}")
