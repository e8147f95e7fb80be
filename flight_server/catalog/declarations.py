"""The declarations in config/tables/*.yml: how a survey's alerts become rows of tables.

Values only; `ingest` (cells and rows) and `storage` (row keys) interpret them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import msgspec

from flight_server.catalog.alert_layouts import AlertLayout, BlockLayout, Family, Nested
from flight_server.catalog.conditions import Condition, Where
from flight_server.catalog.table_declarations import Pixels, Points, Selection, Table, UpperLimits, table_words
from flight_server.protocol.validation import explain
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
    "parse_survey",
]


class Survey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"name": "survey"}):
    """A survey: its alerts and its tables."""

    name: str
    alerts: AlertLayout
    tables: Mapping[str, Table]

    @property
    def alert_table(self) -> Table:
        """The table with one row for each alert, with all of its cells."""
        return next(
            table for table in self.tables.values() if table.rows == "alerts" and table.columns is None and not table.where
        )


@cache
def load_surveys() -> Mapping[str, Survey]:
    """Load every packaged declaration, by the survey's name."""
    return MappingProxyType({survey.name: survey for survey in map(parse_survey, load_folder("tables"))})


def parse_survey(declared: Mapping[str, Any]) -> Survey:
    """Read one declaration.

    Raises
    ------
    TypeError
        A key is unknown, or its value is not of its type; names it.
    KeyError
        A key is missing.
    """
    alerts, survey = declared["alerts"], declared["survey"]
    words = {
        **declared,
        "alerts": {**alerts, "blocks": _joined(alerts["blocks"], stamps=alerts["stamps"])},
        "tables": {
            name: table_words({**_joined(table, name=name, survey=survey), "alert_id": alerts["alert_id"]})
            for name, table in declared["tables"].items()
        },
    }
    try:
        return msgspec.convert(words, Survey)
    except msgspec.ValidationError as error:
        fault = explain(error, Survey, words, "")
        raise TypeError(f"the declaration of {survey}, {fault.name or 'its keys'}: {fault.reason}") from None


def _joined(words: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Add values from elsewhere to a declaration."""
    for name in more:
        if name in words:
            raise TypeError(f"a declaration has no key {name} here")
    return {**words, **more}
