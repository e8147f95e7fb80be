"""Alert files in Parquet, as written by the broker."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flight_server.catalog.declarations import AlertLayout
from flight_server.protocol.errors import BadValue

__all__ = ["ParquetAlerts"]


class ParquetAlerts:
    """An `AlertFile` in Parquet."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
            self.schema: pa.Schema = self._file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise BadValue(f"the Parquet file is broken: {error}", field="path", value=path) from error

    def read(self, layout: AlertLayout, history: frozenset[str] | None) -> pa.Table:
        """Read the alerts; see `AlertFile.read`."""
        leaves = [self._file.schema.column(number).path for number in range(len(self._file.schema))]
        wanted = leaves if history is None else [leaf for leaf in leaves if _wanted(leaf, layout, history)]
        try:
            return self._file.read(columns=wanted)
        except (pa.ArrowException, OSError) as error:
            raise BadValue(f"the Parquet file is broken: {error}", field="path") from error


def _wanted(leaf: str, layout: AlertLayout, history: frozenset[str]) -> bool:
    top, _, rest = leaf.partition(".")
    if top == layout.history:
        return rest.rpartition(".")[2] in history
    return top not in layout.not_stored and (top not in _stamp_columns(layout) or leaf in layout.stamps.values() or leaf == top)


def _stamp_columns(layout: AlertLayout) -> set[str]:
    return {path.partition(".")[0] for path in layout.stamps.values()}
