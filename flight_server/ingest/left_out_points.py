"""The points of histories that an ingest leaves out, since the broker stores all points of a history or none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.declarations import Table
from flight_server.storage.row_keys import keys_of_parts, parts_of

__all__ = ["LeftOutPoints"]

Keys = npt.NDArray[np.bytes_]


class LeftOutPoints:
    """Counts the points left out of each table. A point is in the histories of many alerts, and stored with one of them."""

    def __init__(self) -> None:
        self._left: dict[str, list[Keys]] = {}
        self._stored: dict[str, list[Keys]] = {}

    def add(self, table: Table, rows: pa.Table, stored: npt.NDArray[np.bool_]) -> None:
        """Add the points of some histories that belong to a table.

        Parameters
        ----------
        table
            The table.
        rows
            n points.
        stored
            Which of them are stored, shape (n,).
        """
        keys = keys_of_parts(table, {name: rows[name].combine_chunks() for name in parts_of(table)}) if len(rows) else None
        if keys is not None:
            self._left.setdefault(table.name, []).append(np.unique(keys[~stored]))
            self._stored.setdefault(table.name, []).append(np.unique(keys[stored]))

    def join(self, other: LeftOutPoints) -> None:
        """Add the points that another counter has."""
        for mine, further in ((self._left, other._left), (self._stored, other._stored)):
            for name, keys in further.items():
                mine.setdefault(name, []).extend(keys)

    def counts(self) -> dict[str, int]:
        """Return the number of points left out, by table."""
        found = {}
        for name, left in self._left.items():
            count = len(np.setdiff1d(np.concatenate(left), np.concatenate(self._stored[name])))
            if count:
                found[name] = count
        return found
