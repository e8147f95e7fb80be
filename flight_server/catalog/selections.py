"""The selections that a table supports."""

from __future__ import annotations

from collections.abc import Iterator

from flight_server.catalog.declarations import Table

__all__ = ["AREAS", "BOUNDS", "is_selected_by_time", "selections_of"]

AREAS = ("cone", "skymap")
BOUNDS = ("start", "stop")


def is_selected_by_time(table: Table) -> bool:
    """Return whether time bounds alone are a selection."""
    return table.newest_first and not table.select


def selections_of(table: Table) -> Iterator[str]:
    """Yield the selections that a table supports, with the time bounds if they are a selection by themselves.

    >>> from flight_server.catalog.declarations import load_surveys
    >>> list(selections_of(load_surveys()["ztf"].tables["ztf"]))
    ['ids', 'cone', 'skymap', 'all']
    """
    if table.by_object:
        yield "ids"
    if table.pixels is not None or table.cone is not None:
        yield from AREAS
    if table.tagged:
        yield "tag"
    yield from table.select
    if is_selected_by_time(table):
        yield from BOUNDS
    yield "all"
