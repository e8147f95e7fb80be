"""The nested alerts of an ingest, kept on disk until their blocks are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.storage.scratch import ScratchFolder

__all__ = ["SpilledAlerts"]

SPILL_ROWS = 1024
FILE_BITS = 32  # a place is the number of the file and, in this many bits, of the row


class SpilledAlerts:
    """Nested alerts on disk; each has a number, its place."""

    def __init__(self) -> None:
        self._folder = ScratchFolder("ingest")
        self._tables: list[pa.Table] = []

    def add(self, alerts: pa.Table) -> npt.NDArray[np.int64]:
        """Store n alerts; return their places, shape (n,)."""
        file = self._folder.path / f"{len(self._tables)}.arrow"
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, alerts.schema) as writer:
            writer.write_table(alerts, max_chunksize=SPILL_ROWS)
        self._tables.append(pa.ipc.open_file(pa.memory_map(str(file))).read_all())
        first = (len(self._tables) - 1) << FILE_BITS
        return cast("npt.NDArray[np.int64]", np.arange(first, first + len(alerts), dtype=np.int64))

    def of_one_schema(self, places: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.int64], pa.Table]]:
        """Yield the alerts at the places in groups of files with equal schemas: their indices in `places`, and the alerts."""
        numbers = places >> FILE_BITS
        schemas: list[pa.Schema] = []
        kind_of = {}
        for number in np.unique(numbers).tolist():
            schema = self._tables[number].schema.remove_metadata()
            if schema not in schemas:
                schemas.append(schema)
            kind_of[number] = schemas.index(schema)
        kinds = np.array([kind_of[number] for number in numbers.tolist()])
        for kind in range(len(schemas)):
            chosen = np.flatnonzero(kinds == kind)
            parts = []
            order = []
            for number in np.unique(numbers[chosen]).tolist():
                here = chosen[numbers[chosen] == number]
                rows = places[here] & ((1 << FILE_BITS) - 1)
                parts.append(self._tables[number].take(pa.array(rows)).replace_schema_metadata(None))
                order.append(here)
            # in the order of the given places, across files
            found = np.concatenate(order)
            sorting = np.argsort(found)
            yield found[sorting], pa.concat_tables(parts).take(pa.array(sorting)).combine_chunks()

    def close(self) -> None:
        """Delete the files."""
        self._tables.clear()
        self._folder.cleanup()
