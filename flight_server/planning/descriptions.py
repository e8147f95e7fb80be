"""Descriptions of tables and columns as plain values, for the actions `tables` and `schema`."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import asdict
from typing import Any

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Column
from flight_server.catalog.declarations import Table
from flight_server.catalog.selections import selections_of
from flight_server.planning.derivable_columns import TICKET_FIELD_FOR_INPUT, derivable
from flight_server.storage.protocols import TableState

__all__ = ["describe", "describe_tables"]


def describe_tables(
    catalog: Catalog, states: Mapping[str, TableState], refused: Container[str] = ()
) -> dict[str, dict[str, Any]]:
    """Describe tables and their contents, by name; those that are refused have no columns.

    Returns
    -------
    tables
        `survey`; `description`; `rows`, `bytes`, `first`, `last` and `written`, as in `TableState`; `time`, the time column;
        `columns`, their number; `selections`, the ticket fields that can select rows.
    """
    return {
        name: {
            "survey": catalog.table(name).survey,
            "description": catalog.table(name).description,
            **asdict(state),
            "time": catalog.table(name).time,
            "columns": 0 if name in refused else len(catalog.stored_columns(catalog.table(name))),
            "selections": list(selections_of(catalog.table(name))),
        }
        for name, state in states.items()
    }


def describe(catalog: Catalog, table: Table) -> list[dict[str, Any]]:
    """Describe all columns of a table that a ticket can request.

    First the columns of a ticket without `columns`, in that order; then the tag of upper limits, cutouts and derived columns.

    Returns
    -------
    columns
        For each column `name`, `type` (Arrow's name), `unit`, `ucd`, `description` and `origin`; for times `time_scale` and
        `time_reference`; for derived columns `made_of`, the stored columns used, and `over`, `row` or `object`; `with`, the
        fields that a ticket must have for the column, if there are any.

    Examples
    --------
    >>> from flight_server.catalog.catalog import load_catalog
    >>> columns = describe(load_catalog(), load_catalog().table("ztf.upper"))
    >>> [(column["name"], column["type"], column["unit"]) for column in columns][:2]
    [('i:objectId', 'string', ''), ('i:jd', 'double', 'd')]
    """
    stored = catalog.stored_columns(table)
    found = [_words(column) for column in stored.values()]
    for field, added in (("upper_limits", table.upper_limits), ("forced", table.forced)):
        if added is not None:
            found.append(_words(catalog.known[table.survey][added.tag]) | {"with": [field]})
    if table.cutouts is not None:
        kinds = catalog.surveys[table.survey].alerts.cutout_columns
        found += [_words(column) | {"with": ["cutouts"]} for column in catalog.cutout_columns(table, kinds, "bytes")]
    possible = catalog.possible_columns(table)
    for derived in derivable(table, possible):
        made = {"made_of": list(derived.reads(possible)), "over": derived.derivation.over}
        brought = [TICKET_FIELD_FOR_INPUT[given] for given in derived.derivation.given]
        found.append(_words(derived.column) | made | ({"with": brought} if brought else {}))
    return found


def _words(column: Column) -> dict[str, Any]:
    words = {"name": column.name, "type": str(column.type)}
    words |= {name: getattr(column, name) for name in ("unit", "ucd", "description", "origin")}
    if column.time_scale:
        words |= {"time_scale": column.time_scale, "time_reference": column.time_reference or ""}
    return words
