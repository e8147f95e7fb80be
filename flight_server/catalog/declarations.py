"""The declarations in config/tables/*.yml: how a survey's alerts become rows of tables.

Values only; `ingest` (cells and rows) and `storage` (row keys) interpret them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import msgspec

from flight_server.catalog.alert_layouts import AlertLayout, BlockLayout, Family, Nested
from flight_server.catalog.conditions import Condition, Where, where_words
from flight_server.catalog.table_declarations import Added, Pixels, Points, Selection, Table, table_words
from flight_server.protocol.validation import explain
from flight_server.settings.resources import load_folder

__all__ = [
    "Added",
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
    "Tag",
    "Where",
    "load_surveys",
    "parse_survey",
]

EACH_TAG = "*"  # in place of the tag, in the name of a table


class Tag(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name that the broker gives to alerts: those that meet `where`, or some of its livestream, which no table has."""

    description: str
    where: Where | None = None
    livestream: bool = False


class Survey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"name": "survey"}):
    """A survey: the year of its first alerts, its alerts, tables and tags."""

    name: str
    since: int
    alerts: AlertLayout
    tables: Mapping[str, Table]
    tags: Mapping[str, Tag] = msgspec.field(default_factory=dict)

    @property
    def alert_table(self) -> Table:
        """The table of alerts, in which those of one object and time are told apart."""
        return self.tables[self.alerts.table]


@cache
def load_surveys() -> Mapping[str, Survey]:
    """Load every packaged declaration, by the survey's name, in the order of their first alerts."""
    known = {words["survey"]: words["columns"] for words in load_folder("columns")}
    found = [parse_survey(words, known[words["survey"]]) for words in load_folder("tables")]
    return MappingProxyType({survey.name: survey for survey in sorted(found, key=lambda one: (one.since, one.name))})


def parse_survey(declared: Mapping[str, Any], known: Collection[str] = ()) -> Survey:
    """Read one declaration.

    Parameters
    ----------
    declared
        The words of the file.
    known
        The names of the columns of the survey.

    Raises
    ------
    TypeError
        A key is unknown, or its value is not of its type; names it.
    KeyError
        A key is missing.
    """
    alerts, survey = declared["alerts"], declared["survey"]
    structs = [struct for family in alerts["cells"].values() for struct in family.get("structs", ())]
    always = {"alert_id": alerts["alert_id"]}
    defaults = {"structs": structs[:1], "history": alerts["histories"][0]}
    words = {
        **{name: value for name, value in declared.items() if name != "lists"},
        "tags": {name: _with_where(tag) for name, tag in declared.get("tags", {}).items()},
        "alerts": {**alerts, "blocks": _joined(alerts["blocks"], stamps=alerts["stamps"])},
        "tables": {
            name: table_words({**defaults, **_joined(table, name=name, survey=survey), **always}, known)
            for name, table in _tables(declared)
        },
    }
    try:
        return msgspec.convert(words, Survey)
    except msgspec.ValidationError as error:
        fault = explain(error, Survey, words, "")
        raise TypeError(f"the declaration of {survey}, {fault.name or 'its keys'}: {fault.reason}") from None


def _tables(declared: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the declared tables; one whose name ends with a star stands for one of each tag that has alerts."""
    for name, table in declared["tables"].items():
        if not name.endswith(EACH_TAG):
            yield name, table
            continue
        for tag, words in declared["tags"].items():
            if "where" in words:
                both = {"either": [words["where"]], **table["where"]}
                yield name.removesuffix(EACH_TAG) + tag, {**table, "description": words["description"], "where": both}


def _with_where(words: Mapping[str, Any]) -> dict[str, Any]:
    return {**words, "where": where_words(words["where"])} if "where" in words else dict(words)


def _joined(words: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Add values from elsewhere to a declaration."""
    for name in more:
        if name in words:
            raise TypeError(f"a declaration has no key {name} here")
    return {**words, **more}
