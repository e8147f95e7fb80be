"""Alert files in Parquet, as written by the broker."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from flight_server.catalog.declarations import AlertLayout
from flight_server.ingest.archives import Slice
from flight_server.protocol.errors import BadValue

__all__ = ["ParquetAlerts"]


class ParquetAlerts:
    """An `AlertFile` in Parquet."""

    unreadable: Mapping[str, str] = {}

    def __init__(self, content: Slice) -> None:
        self.content = content
        file = self._open()
        self.schema: pa.Schema = file.schema_arrow
        self.alerts: int = file.metadata.num_rows

    def read(self, layout: AlertLayout, history: frozenset[str] | None) -> pa.Table:
        """Read the alerts; see `AlertFile.read`."""
        file = self._open()
        leaves = [file.schema.column(number).path for number in range(len(file.schema))]
        wanted = leaves if history is None else [leaf for leaf in leaves if _wanted(leaf, layout, history)]
        try:
            try:
                return file.read(columns=wanted)
            except pa.ArrowNotImplementedError:  # of dictionaries within lists Arrow reads one row group at a time
                groups = range(file.num_row_groups)
                return pa.concat_tables([file.read_row_group(number, columns=wanted) for number in groups])
        except (pa.ArrowException, OSError) as error:
            raise BadValue(f"the Parquet file is broken: {error}", field="path") from error

    def _open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(pa.BufferReader(self.content.buffer()), page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise BadValue(f"the Parquet file is broken: {error}", field="path") from error


def _wanted(leaf: str, layout: AlertLayout, history: frozenset[str]) -> bool:
    top, _, rest = leaf.partition(".")
    if top in layout.histories:
        return rest.rpartition(".")[2] in history
    return top not in layout.not_stored and (top not in _stamp_columns(layout) or leaf in layout.stamps.values() or leaf == top)


def _stamp_columns(layout: AlertLayout) -> set[str]:
    return {path.partition(".")[0] for path in layout.stamps.values()}
