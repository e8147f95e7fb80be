"""Trials of an archive: one ticket of each kind that a table supports, with values of one of its rows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.declarations import Table
from flight_server.catalog.selections import AREAS, BOUNDS, selections_of
from flight_server.execution.archive import Archive
from flight_server.execution.sky_pixels import pixels_of
from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import AlertflightError, TableAbsent
from flight_server.protocol.ticket_json import parse_ticket

__all__ = ["Trial", "try_table"]

MOST_ROWS = 100
MOST_BYTES = 1 << 20  # of a ticket
MAP_NSIDE = 128
RADIUS = 5.0  # arcsec
Words = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of one ticket.

    Parameters
    ----------
    table, kind
        The table, and the selection or the further rows and columns that were tried.
    ticket
        The ticket as JSON; empty if no row has a value for it.
    rows
        The number of rows of the answer; None if there was none.
    fault
        What is wrong: the error, or cutouts that could not be read; empty if the answer is whole.
    seconds
        The time that the answer took.
    absent
        Whether the store has no such table.
    """

    table: str
    kind: str
    ticket: str
    rows: int | None
    fault: str
    seconds: float
    absent: bool = False

    @property
    def result(self) -> str:
        """One word: `ok`, `empty` if there is nothing to be found, `absent` if there is no such table, or `failed`."""
        if self.absent:
            return "absent"
        if self.fault:
            return "failed"
        return "ok" if self.rows else "empty"


def try_table(archive: Archive, name: str, caller: Caller) -> Iterator[Trial]:
    """Yield the results of one ticket of each kind that a table supports; each answer is read to its end.

    A table that is not served, or in which nothing is found, is tried once.
    """
    catalog = archive.catalog()
    table = catalog.table(name)
    whole, row = _try(archive, caller, table, "all", {"all": True, "limit": 1})
    yield whole
    if row is None:
        return
    for kind in selections_of(table):
        if kind == "all" or kind in BOUNDS[1:]:
            continue
        words = _selection(catalog, table, kind, row)
        if words is not None:
            yield _try(archive, caller, table, kind, words | {"limit": MOST_ROWS})[0]
        else:
            yield Trial(name, kind, "", None, "", 0.0)
    for kind, words in _further(catalog, table, row):
        yield _try(archive, caller, table, kind, words)[0]


def _try(archive: Archive, caller: Caller, table: Table, kind: str, words: Words) -> tuple[Trial, Words | None]:
    """Return the result of a ticket, and the first row of its answer."""
    ticket = json.dumps({"table": table.name, **words})
    began = time.monotonic()
    rows, first, fault = 0, None, ""
    try:
        answer = archive.answer(parse_ticket(ticket.encode(), MOST_BYTES), caller)
        for message in answer.messages:
            if len(message.batch) and first is None:
                first = {name: cells[0].as_py() for name, cells in zip(message.batch.schema.names, message.batch, strict=True)}
            rows += len(message.batch)
            if failed := message.metadata.get("cutout_errors"):
                fault = f"cutouts failed: {json.dumps(failed)}"
    except AlertflightError as error:
        seconds, absent = time.monotonic() - began, isinstance(error, TableAbsent)
        return Trial(table.name, kind, ticket, None, f"{error.code}: {error.message}", seconds, absent), None
    return Trial(table.name, kind, ticket, rows, fault, time.monotonic() - began), first


def _selection(catalog: Catalog, table: Table, kind: str, row: Mapping[str, Any]) -> Words | None:
    """Return the fields of a ticket that select a row, or None if it has no value for them."""
    if kind == "ids":
        return _named("ids", row.get(table.id), listed=True)
    if kind in AREAS:
        return _area(catalog, table, kind, row)
    if kind in BOUNDS:
        time_ = row.get(str(table.time))
        return None if time_ is None else {"start": time_, "stop": time_ + 1.0}
    if kind == "tag":
        tags = catalog.surveys[table.survey].tags
        return {"tag": next(name for name, tag in tags.items() if not tag.livestream)}
    column = table.select[kind].column
    names = table.aliases if column not in row else (column,)
    return _named(kind, next((row[name] for name in names if row.get(name) not in {None, ""}), None), listed=False)


def _named(kind: str, value: Any, *, listed: bool) -> Words | None:
    if value is None:
        return None
    return {kind: [value] if listed else str(value)}


def _area(catalog: Catalog, table: Table, kind: str, row: Mapping[str, Any]) -> Words | None:
    pixels = (table if table.pixels is not None else catalog.table(str(table.cone))).pixels
    ra, dec = (None if pixels is None else row.get(name) for name in (pixels.ra, pixels.dec)) if pixels else (None, None)
    if ra is None or dec is None:
        return None
    if kind == "cone":
        return {"cone": {"ra": ra, "dec": dec, "radius": RADIUS}}
    pixel = int(pixels_of(np.array([ra]), np.array([dec]), MAP_NSIDE)[0])
    return {"skymap": {"nside": MAP_NSIDE, "ranges": [[pixel, pixel + 1]]}}


def _further(catalog: Catalog, table: Table, row: Mapping[str, Any]) -> Iterator[tuple[str, Words]]:
    """Yield the further rows and columns that a ticket can ask for."""
    own = _named("ids", row.get(table.id), listed=True)
    if own is None or not table.by_object:
        return
    if table.upper_limits is not None:
        yield "upper limits", own | {"upper_limits": True}
    if table.forced is not None:
        yield "forced", own | {"forced": True}
    if table.cutouts is not None:
        kinds = list(catalog.surveys[table.survey].alerts.stamps)
        yield "cutouts", own | {"columns": [table.id], "cutouts": kinds, "limit": 3}
    if table.time is not None:
        yield "light curve", own | {"layout": "nested"}
