"""Decoding of pages: pyarrow reads a Parquet file in memory that contains only the needed pages.

So pyarrow does all decoding: compression, encodings, levels and checksums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flight_server.storage.blocks.compact import BINARY, I32, I64, LIST, STRUCT, Listed, encode_struct
from flight_server.storage.blocks.files import BlockFault, Content
from flight_server.storage.blocks.footers import MAGIC, Chunk

__all__ = ["Part", "decode"]

OPTIONAL = 1
PLAIN, RLE = 0, 3
ROOT = b"root"
LEAF = "x"


@dataclass(frozen=True, slots=True)
class Part:
    """Pages of a chunk.

    Parameters
    ----------
    chunk
        The chunk.
    dictionary
        The bytes of the dictionary page; empty if there is none.
    data
        The bytes of the data pages.
    rows
        The number of rows of the data pages.
    """

    chunk: Chunk
    dictionary: Content
    data: Sequence[Content]
    rows: int

    @property
    def size(self) -> int:
        """The total number of bytes."""
        return len(self.dictionary) + sum(len(page) for page in self.data)


def decode(parts: Sequence[Part]) -> pa.Array:
    """Decode pages of one column, concatenated over chunks.

    Raises
    ------
    BlockFault
        The pages cannot be decoded, or a checksum is wrong.
    """
    if not parts:
        raise ValueError("nothing to decode")
    levels = parts[0].chunk.levels
    path = [LEAF] * max(levels, 1)
    body: list[Content] = [MAGIC]
    place = len(MAGIC)
    groups = []
    for part in parts:
        groups.append(_group(part, path, place))
        body += [part.dictionary, *part.data]
        place += part.size
    rows = sum(part.rows for part in parts)
    footer = encode_struct(
        {
            1: (I32, 1),
            2: (LIST, Listed(STRUCT, _schema(parts[0].chunk, path))),
            3: (I64, rows),
            4: (LIST, Listed(STRUCT, groups)),
        }
    )
    content = b"".join([*body, footer, len(footer).to_bytes(4, "little"), MAGIC])
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        column = file.read(use_threads=False).column(0).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise BlockFault("block_damaged", "its pages cannot be decoded") from error
    for _ in path[1:]:
        column = pa.compute.struct_field(column, LEAF)
    if len(column) != rows:
        raise BlockFault("block_damaged", f"its pages have {len(column)} rows, not {rows}")
    return column


def _schema(chunk: Chunk, path: Sequence[str]) -> list[dict[int, Any]]:
    """Return a schema with a single column that has the definition levels of the chunk; names of groups do not matter."""
    elements: list[dict[int, Any]] = [{4: (BINARY, ROOT), 5: (I32, 1)}]
    elements += [{3: (I32, OPTIONAL), 4: (BINARY, name.encode()), 5: (I32, 1)} for name in path[:-1]]
    elements.append({1: (I32, chunk.type), 3: (I32, OPTIONAL if chunk.levels else 0), 4: (BINARY, path[-1].encode())})
    return elements


def _group(part: Part, path: Sequence[str], place: int) -> dict[int, Any]:
    size = part.size
    column = {
        1: (I32, part.chunk.type),
        2: (LIST, Listed(I32, [PLAIN, RLE])),
        3: (LIST, Listed(BINARY, [name.encode() for name in path])),
        4: (I32, part.chunk.codec),
        5: (I64, part.rows),
        6: (I64, size),
        7: (I64, size),
        9: (I64, place + len(part.dictionary)),
    }
    if part.dictionary:
        column[11] = (I64, place)
    return {
        1: (LIST, Listed(STRUCT, [{2: (I64, place), 3: (STRUCT, column)}])),
        2: (I64, size),
        3: (I64, part.rows),
    }
