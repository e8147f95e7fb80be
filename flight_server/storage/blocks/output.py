"""Writing blocks: small row groups, a page index and page checksums."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["block_schema", "write_block"]

ROW_GROUP_ROWS = 32
PAGE_BYTES = 65_536


def block_schema(kinds: Sequence[str]) -> pa.Schema:
    """Return the schema of a block with cutouts of these kinds."""
    stamp = pa.struct([pa.field("stampData", pa.binary())])
    ids = [pa.field("objectId", pa.string()), pa.field("candid", pa.int64())]
    return pa.schema(ids + [pa.field(f"cutout{kind}", stamp) for kind in kinds])


def write_block(file: Path | BinaryIO, stamps: pa.Table, compression: str = "none") -> None:
    """Write a block with small row groups, a page index and page checksums.

    `stamps` has the columns of `block_schema`, and may have others. Cutouts are already gzipped, so
    compression serves the others.
    """
    pq.write_table(
        stamps,
        file,
        row_group_size=ROW_GROUP_ROWS,
        data_page_size=PAGE_BYTES,
        compression=compression,
        use_dictionary=False,
        write_statistics=["objectId", "candid"],
        write_page_index=True,
        write_page_checksum=True,
    )
