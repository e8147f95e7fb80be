"""The type of each cell: that of the catalog or, for other columns, one that holds what is stored and what files bring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.declarations import Survey, Table
from flight_server.catalog.widening import is_number, widest
from flight_server.ingest.casts import stored_type
from flight_server.storage.protocols import RowView

__all__ = ["contested_columns", "open_type", "settle_types"]


def settle_types(
    brought: Iterable[tuple[Survey, Mapping[str, pa.DataType]]], catalog: Catalog, not_stored: set[str], view: RowView
) -> dict[str, dict[str, pa.DataType]]:
    """Return the type of every cell, by survey; the order of the files does not matter.

    Parameters
    ----------
    brought
        The types in the files, by survey.
    catalog
        The tables and types.
    not_stored
        The names of cells that the table of alerts does not store are added to it.
    view
        The store, to find out whether its values allow a wider type.
    """
    settled: dict[str, dict[str, pa.DataType]] = {}
    further: dict[str, dict[str, list[pa.DataType]]] = {}
    for survey, own in brought:
        types = settled.setdefault(survey.name, {})
        described = catalog.known[survey.name]
        for name, kind in own.items():
            found = stored_type(kind)
            if not _is_stored(survey, catalog, name):
                not_stored.add(name.partition(":")[2])
            elif name in described:
                types[name] = described[name].type
            elif found is not None:
                further.setdefault(survey.name, {}).setdefault(name, []).append(found)
    for survey_name, columns in further.items():
        tables = list(catalog.surveys[survey_name].tables.values())
        settled[survey_name] |= {name: open_type(tables, catalog, view, name, kinds) for name, kinds in columns.items()}
    return settled


def _is_stored(survey: Survey, catalog: Catalog, name: str) -> bool:
    """Return whether a table stores this cell of alerts; what ingest computes itself is not taken from files."""
    tables = (table for table in survey.tables.values() if table.rows == "alerts")
    return name not in survey.alerts.computed and any(catalog.storable(table, name) for table in tables)


def open_type(tables: Iterable[Table], catalog: Catalog, view: RowView, name: str, brought: Sequence[pa.DataType]) -> pa.DataType:
    """Return the type of a column that the catalog does not type.

    Stored numbers widen to the narrowest type that also holds the numbers brought; they never become text, so a file with
    text is refused by its values. Stored text remains text.

    Parameters
    ----------
    tables
        The tables that may hold the column.
    catalog, view
        The columns that are stored, and the store.
    name
        The column.
    brought
        The types in which it is brought, one or more.
    """
    holding = [table for table in tables if name in catalog.stored.get(table.name, {}) and name not in catalog.described(table)]
    stored = {table.name: catalog.stored[table.name][name] for table in holding}
    if not stored:
        return reduce(widest, brought)
    held = reduce(widest, stored.values())
    if not is_number(held):
        return held
    wide = reduce(widest, filter(is_number, brought), held)
    changing = [table for table in holding if stored[table.name] != wide]
    return held if any(view.unfit(table, name, wide) is not None for table in changing) else wide


def contested_columns(brought: Sequence[tuple[Survey, Mapping[str, pa.DataType]]], catalog: Catalog) -> set[tuple[str, str]]:
    """Return the columns, with their surveys, whose types differ among the files, or are wider than what is stored.

    For these it matters whether a file has any value of them: a column of nulls has no say in the type.
    """
    found: dict[tuple[str, str], set[pa.DataType]] = {}
    for survey, own in brought:
        described = catalog.known[survey.name]
        for name, kind in own.items():
            stored = stored_type(kind)
            if name not in described and stored is not None:
                found.setdefault((survey.name, name), set()).add(stored)
    contested = set()
    for (survey_name, name), kinds in found.items():
        tables = (catalog.stored.get(table, {}) for table in catalog.surveys[survey_name].tables)
        held = next((columns[name] for columns in tables if name in columns), None)
        # stored text remains text
        widening = held is not None and is_number(held) and any(widest(held, kind) != held for kind in kinds)
        if widening or (held is None and len(kinds) > 1):
            contested.add((survey_name, name))
    return contested
