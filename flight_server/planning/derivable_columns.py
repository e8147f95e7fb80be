"""Which derived columns a table can give, and what else a ticket needs for them."""

from __future__ import annotations

from collections.abc import Container, Iterator

from flight_server.catalog.declarations import Table
from flight_server.catalog.selections import selections_of
from flight_server.derive import DerivedColumn, load_derived
from flight_server.protocol.errors import AlertflightError, NotSupported, UnknownColumn

__all__ = ["TICKET_FIELD_FOR_INPUT", "derivable", "refusal"]

TICKET_FIELD_FOR_INPUT = {"centre": "cone"}  # the field of a ticket that brings what a derivation is given


def refusal(column: DerivedColumn, table: Table, stored: Container[str], selections: Container[str]) -> AlertflightError | None:
    """Give the error for a derived column that cannot be had, None where it can.

    Parameters
    ----------
    column, table
        What is asked of which table.
    stored
        The columns that the table has.
    selections
        The selections that the ticket makes.
    """
    if missing := column.missing(stored):
        message = f"{column.name} is made of {', '.join(missing)}, which {table.name} does not have"
        return UnknownColumn(message, field="columns", value=column.name)
    if column.derivation.over == "object" and not table.by_object:
        message = f"{column.name} is made of all rows of an object: ask a table that is kept by object for it"
        return NotSupported(message, field="columns", value=column.name)
    for field in (TICKET_FIELD_FOR_INPUT[given] for given in column.derivation.given):
        if field not in selections:
            return NotSupported(f"{column.name} goes with a {field}", field="columns", value=column.name)
    return None


def derivable(table: Table, stored: Container[str]) -> Iterator[DerivedColumn]:
    """Give the derived columns that a table can give, to the right ticket, in the order of their declaration."""
    selections = tuple(selections_of(table))
    for column in load_derived(table.survey).values():
        if refusal(column, table, stored, selections) is None:
            yield column
