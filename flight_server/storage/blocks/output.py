"""Writing blocks: small row groups, a page index and page checksums."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from flight_server.catalog.declarations import BlockLayout

__all__ = ["block_schema", "ids_of", "write_block"]

ROW_GROUP_ROWS = 32
PAGE_BYTES = 65_536


def block_schema(layout: BlockLayout) -> pa.Schema:
    """Return the schema of a block with the IDs and the cutouts of a layout, and nothing else."""
    names = [] if layout.object_id is None else [pa.field(layout.object_id, pa.string())]
    paths = (path.partition(".") for path in layout.stamps.values())
    stamps = [pa.field(top, pa.struct([pa.field(inner, pa.binary())]) if inner else pa.binary()) for top, _, inner in paths]
    return pa.schema([*names, pa.field(layout.alert_id, pa.int64()), *stamps])


def ids_of(layout: BlockLayout) -> list[str]:
    """Return the columns of a block by which its alerts are found."""
    return [name for name in (layout.object_id, layout.alert_id) if name is not None]


def write_block(file: Path | BinaryIO, stamps: pa.Table, layout: BlockLayout, compression: str = "none") -> None:
    """Write a block with small row groups, a page index and page checksums.

    `stamps` has the columns of `block_schema`, and may have others. Cutouts are already gzipped, or noise, so compression
    serves the others.
    """
    pq.write_table(
        stamps,
        file,
        row_group_size=ROW_GROUP_ROWS,
        data_page_size=PAGE_BYTES,
        compression=compression,
        use_dictionary=False,
        write_statistics=ids_of(layout),
        write_page_index=True,
        write_page_checksum=True,
    )
