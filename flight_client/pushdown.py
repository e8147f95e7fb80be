"""Pushdown of conditions on columns into a ticket, so that the server does not send rows that cannot meet them.

Such a ticket selects every row that meets the conditions, and possibly others. So the caller still applies the
conditions to the answer, and the result is the same whatever was pushed down.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import yaml

from flight_server.protocol.query import MAX_INTEGER, Query
from flight_server.protocol.times import number_format

__all__ = ["Condition", "declared", "narrowed"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a column: `in` a list of values, or `>`, `>=`, `<`, `<=` one value."""

    column: str
    relation: str
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """What the packaged declarations say of a table that a ticket can use.

    Parameters
    ----------
    id
        The column of the object's ID.
    by_object
        Whether the table takes `ids`.
    time, time_format
        The time column, if there is one, and whether it has a JD or an MJD.
    """

    id: str
    by_object: bool
    time: str | None
    time_format: str


@cache
def _tables() -> Mapping[str, Table]:
    found = {}
    for file in (files("alertflight_config") / "tables").iterdir():
        if file.name.endswith(".yml"):
            for name, words in yaml.safe_load(file.read_text("utf-8"))["tables"].items():
                by_object = words["key"].startswith(f"{{{words['id']}}}")
                found[name] = Table(words["id"], by_object, words.get("time"), words.get("time_format", "jd"))
    return found


def declared(name: str) -> Table | None:
    """Return the declaration of a table, or None if this release does not know it."""
    return _tables().get(name)


def narrowed(query: Query, table: Table, conditions: Iterable[Condition]) -> Query | None:
    """Narrow a query by conditions that all its rows must meet; return None if no row can.

    Parameters
    ----------
    query
        The query; it may lack a selection.
    table
        Its table.
    conditions
        The conditions; those that a ticket cannot express are skipped.

    Examples
    --------
    >>> table = declared("ztf")
    >>> wanted = [Condition("i:objectId", "in", ("ZTF20abfcszi",)), Condition("i:jd", ">=", (2459092.5,))]
    >>> narrowed(Query(table="ztf"), table, wanted).to_dict()
    {'table': 'ztf', 'ids': ['ZTF20abfcszi'], 'start': 2459092.5}
    """
    if (query.limit, query.limit_objects, query.resume_after, query.key_range) != (None, None, None, None):
        return query  # limits count rows before the conditions; cursors and ranges belong to one query
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
    if not table.by_object or not all(_is_id(value) for value in values):
        return query
    if query.ids is not None:
        asked = set(wanted)
        kept = tuple(value for value in query.ids if value in asked or _whole(value) in asked)
        return replace(query, ids=kept) if kept else None
    if [name for name in query.selections if name != "all"]:
        return query  # a ticket has one selection
    return replace(query, ids=wanted, all=False) if wanted else None


def _is_id(value: object) -> bool:
    """Return whether a ticket accepts the value as an ID."""
    if isinstance(value, str):
        return bool(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER


def _whole(value: str | int) -> int | None:
    """Parse an integer ID, which a ticket may hold as text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def _within(query: Query, table: Table, condition: Condition) -> Query | None:
    """Set the bounds `start <= time < stop`; `stop` moves up by one float step where the condition includes it."""
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
    if not all(_is_own(value, table) for value in stops):  # the step left the range of times
        return query
    if starts and stops and max(starts) >= min(stops):
        return None
    return replace(query, start=max(starts, default=None), stop=min(stops, default=None))


def _moment(value: object, table: Table) -> float | None:
    """Return a number that a ticket reads as this value of the time column, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if _is_own(value, table) else None


def _is_own(value: float, table: Table) -> bool:
    """Return whether a ticket reads the number in the format of the column."""
    return number_format(value) == table.time_format
