"""Conditions on columns become parts of a ticket, so that rows which cannot meet them are not sent.

A ticket made so selects every row that meets the conditions; it may select others too, so whoever asks
applies the conditions to the answer as well. Then the result is the same, whatever was pushed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from flight_server.catalog.declarations import Table, load_surveys
from flight_server.catalog.selections import selections_of
from flight_server.protocol.query import MAX_INTEGER, Query
from flight_server.protocol.times import JD_FROM

__all__ = ["Condition", "declared", "narrowed"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What a column's value must be: one of some (`in`), or `>`, `>=`, `<`, `<=` one."""

    column: str
    relation: str
    values: tuple[object, ...]


@cache
def _tables() -> Mapping[str, Table]:
    return {name: table for survey in load_surveys().values() for name, table in survey.tables.items()}


def declared(name: str) -> Table | None:
    """Find the declaration of a table; None of one that this release does not know."""
    return _tables().get(name)


def narrowed(query: Query, table: Table, conditions: Iterable[Condition]) -> Query | None:
    """Narrow a query by conditions that its rows must all meet; None where no row can.

    Parameters
    ----------
    query
        What is asked; it may lack a selection.
    table
        Its table.
    conditions
        Those that the ticket cannot say are passed over.

    Examples
    --------
    >>> table = declared("ztf")
    >>> wanted = [Condition("i:objectId", "in", ("ZTF20abfcszi",)), Condition("i:jd", ">=", (2459092.5,))]
    >>> narrowed(Query(table="ztf"), table, wanted).to_dict()
    {'table': 'ztf', 'ids': ['ZTF20abfcszi'], 'start': 2459092.5}
    """
    if (query.limit, query.limit_objects, query.resume_after, query.key_range) != (None, None, None, None):
        return query  # a limit counts rows that do not meet the conditions too; cursors and ranges belong to one query
    narrow: Query | None = query
    for condition in conditions:
        if narrow is None:
            break
        if condition.column == table.id and condition.relation == "in":
            narrow = _with_ids(narrow, table, condition.values)
        elif condition.column == table.time and query.layout == "rows":
            narrow = _within(narrow, table, condition)
    return narrow


def _with_ids(query: Query, table: Table, values: tuple[object, ...]) -> Query | None:
    wanted = tuple(dict.fromkeys(value for value in values if isinstance(value, str | int)))
    if "ids" not in selections_of(table) or not all(_is_id(value) for value in values):
        return query
    if query.ids is not None:
        asked = set(wanted)
        kept = tuple(value for value in query.ids if value in asked or _whole(value) in asked)
        return replace(query, ids=kept) if kept else None
    if [name for name in query.selections if name != "all"]:
        return query  # a ticket has one selection
    return replace(query, ids=wanted, all=False) if wanted else None


def _is_id(value: object) -> bool:
    """Say whether a ticket can have the value as an ID."""
    if isinstance(value, str):
        return bool(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER


def _whole(value: str | int) -> int | None:
    """Read an ID of digits, which a ticket may have as text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def _within(query: Query, table: Table, condition: Condition) -> Query | None:
    """Set the bounds `start <= time < stop`, of which the second is moved by one step of a float where needed."""
    values = [_moment(value, table) for value in condition.values]
    found = [value for value in values if value is not None]
    given = [bound for bound in (query.start, query.stop) if bound is not None]
    if len(found) < len(values) or any(isinstance(bound, str) or not _is_own(bound, table) for bound in given):
        return query
    if not found:
        return None
    start = None if condition.relation.startswith("<") else min(found)
    stop = None if condition.relation.startswith(">") else math.nextafter(max(found), math.inf)
    starts = [value for value in (start, query.start) if isinstance(value, float)]
    stops = [value for value in (stop, query.stop) if isinstance(value, float)]
    if not all(_is_own(value, table) for value in stops):  # the step led out of the range that MJD have
        return query
    if starts and stops and max(starts) >= min(stops):
        return None
    return replace(query, start=max(starts, default=None), stop=min(stops, default=None))


def _moment(value: object, table: Table) -> float | None:
    """Give a number that a ticket takes for the same value of the time column, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if _is_own(value, table) else None


def _is_own(value: float, table: Table) -> bool:
    """Say whether a number in a ticket means itself: from 2,400,000 on it is a JD, else an MJD."""
    return (value >= JD_FROM) == (table.time_format == "jd")
