"""The derived columns that a table supports, and the ticket fields that they need."""

from __future__ import annotations

from collections.abc import Container, Iterator

from flight_server.catalog.declarations import Table
from flight_server.catalog.selections import selections_of
from flight_server.derive import DerivedColumn, load_derived
from flight_server.protocol.errors import AlertflightError, NotSupported, UnknownColumn

__all__ = ["TICKET_FIELD_FOR_INPUT", "derivable", "refusal"]

TICKET_FIELD_FOR_INPUT = {"centre": "cone"}  # the ticket field with this input of a derivation


def refusal(column: DerivedColumn, table: Table, possible: Container[str], selections: Container[str]) -> AlertflightError | None:
    """Return the error for a derived column that is not possible, or None if it is.

    Parameters
    ----------
    column, table
        The column and the table.
    possible
        The columns that the table can store; where there are none of their cells, they count as null.
    selections
        The selections of the ticket.
    """
    if missing := column.missing(possible):
        message = f"{column.name} is derived from {', '.join(missing)}, which {table.name} does not have"
        return UnknownColumn(message, field="columns", value=column.name)
    if column.derivation.over == "object" and not table.by_object:
        message = f"{column.name} is derived from all rows of an object: use a table whose row keys begin with the object ID"
        return NotSupported(message, field="columns", value=column.name)
    for field in (TICKET_FIELD_FOR_INPUT[given] for given in column.derivation.given):
        if field not in selections:
            return NotSupported(f"{column.name} needs the field {field}", field="columns", value=column.name)
    return None


def derivable(table: Table, possible: Container[str]) -> Iterator[DerivedColumn]:
    """Yield the derived columns that a table supports with some ticket, in the order of their declaration."""
    selections = tuple(selections_of(table))
    for column in load_derived(table.survey).values():
        if refusal(column, table, possible, selections) is None:
            yield column
