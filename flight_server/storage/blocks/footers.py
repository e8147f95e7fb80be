"""The column chunks in the footer of a block: their positions, and the encoding of their values.

pyarrow parses the footer. The positions of the offset indexes, which it does not expose, are parsed here from the same bytes.
Rules: the Apache Parquet format, parquet.thrift.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flight_server.storage.blocks.compact import CompactReader, encode_texts
from flight_server.storage.blocks.files import BlockFault, BlockFile

__all__ = ["TYPES", "Chunk", "Footer", "read_footer"]

TAIL_BYTES = 98_304  # one read: covers footer and offset indexes of a broker file
MAGIC = b"PAR1"
END_BYTES = 8  # the length of the footer, and the magic

TYPES = {"BOOLEAN": 0, "INT32": 1, "INT64": 2, "INT96": 3, "FLOAT": 4, "DOUBLE": 5, "BYTE_ARRAY": 6}
CODECS = {"UNCOMPRESSED": 0, "SNAPPY": 1, "GZIP": 2, "LZO": 3, "BROTLI": 4, "ZSTD": 6, "LZ4": 7}

# fields of ColumnMetaData and ColumnChunk
PATH, CODEC, VALUES, COMPRESSED, DATA_OFFSET, DICTIONARY_OFFSET = 3, 4, 5, 7, 9, 11
METADATA, INDEX_OFFSET, INDEX_LENGTH = 3, 4, 5


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column chunk: the values of one column in one row group.

    Parameters
    ----------
    rows
        The number of rows.
    type, codec
        The numbers in the Parquet format of the value type and of the compression of pages.
    levels
        The definition level of a value that is not null.
    start, stop
        The range of bytes in the file.
    index
        Offset and length of the offset index; None if it has none.
    """

    rows: int
    type: int
    codec: int
    levels: int
    start: int
    stop: int
    index: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Footer:
    """The footer of a block, and the bytes that were read with it.

    Parameters
    ----------
    metadata
        The metadata as parsed by pyarrow.
    encoded
        The bytes of the footer.
    tail
        The last bytes of the file.
    tail_start
        The offset of the tail in the file.
    leaves
        The columns, by dotted path.
    """

    metadata: pq.FileMetaData
    encoded: bytes | bytearray
    tail: bytes | bytearray
    tail_start: int
    leaves: Mapping[str, int]

    def chunks(self, leaf: str) -> list[Chunk]:
        """Return the chunk of a column in each row group.

        Raises
        ------
        BlockFault
            The column does not exist, or holds lists.
        """
        number = self.leaves.get(leaf)
        if number is None:
            raise BlockFault("block_damaged", f"it has no column {leaf}")
        column = self.metadata.schema.column(number)
        if column.max_repetition_level or column.physical_type not in TYPES:
            raise BlockFault("block_damaged", f"its column {leaf} has another type")
        groups = [self.metadata.row_group(group) for group in range(self.metadata.num_row_groups)]
        known = [_metadata_of(group.column(number)) for group in groups]
        candidates = list(_candidates(self.encoded, leaf))
        # the path may also occur elsewhere by chance: use only matches that agree with pyarrow's metadata
        agrees = [one["numbers"] for one in candidates] == [one["numbers"] for one in known]
        levels = column.max_definition_level
        return [
            Chunk(
                rows=group.num_rows,
                type=TYPES[column.physical_type],
                codec=candidates[place]["codec"] if agrees else here["codec"],
                levels=levels,
                start=here["start"],
                stop=here["start"] + here["numbers"][1],
                index=candidates[place]["index"] if agrees else None,
            )
            for place, (group, here) in enumerate(zip(groups, known, strict=True))
        ]


def read_footer(file: BlockFile) -> Footer:
    """Read the footer of a block, usually in one read.

    Raises
    ------
    BlockFault
        The file is not Parquet.
    """
    size = file.size
    if size < END_BYTES + len(MAGIC):
        raise BlockFault("block_damaged", "it is too short for a Parquet file")
    start = max(size - TAIL_BYTES, 0)
    tail = file.read(start, size - start)
    length = int.from_bytes(tail[-END_BYTES:-4], "little")
    if tail[-4:] != MAGIC or length + END_BYTES > size:
        raise BlockFault("block_damaged", "it does not end as a Parquet file does")
    if length + END_BYTES > len(tail):
        more = size - END_BYTES - length
        tail = file.read(more, start - more) + tail
        start = more
    encoded = tail[len(tail) - END_BYTES - length : -END_BYTES]
    try:
        # a file with only the footer has the same metadata
        metadata = pq.read_metadata(pa.BufferReader(MAGIC + tail[len(tail) - END_BYTES - length :]))
    except (pa.ArrowException, OSError) as error:
        raise BlockFault("block_damaged", "its footer cannot be read") from error
    schema = metadata.schema
    leaves = {schema.column(number).path: number for number in range(len(schema))}
    return Footer(metadata, encoded, tail, start, leaves)


def footer_crc(file: BlockFile) -> int:
    """Return the CRC-32 of the footer of a Parquet file: metadata, length and final magic."""
    size = file.size
    end = min(size, END_BYTES)
    length = int.from_bytes(file.read(size - end, min(end, 4)), "little") + END_BYTES
    start = max(size - length, 0)
    return zlib.crc32(file.read(start, size - start))


def _metadata_of(chunk: Any) -> dict[str, Any]:
    """Return the metadata of a chunk from pyarrow."""
    offsets = [chunk.data_page_offset, chunk.dictionary_page_offset if chunk.has_dictionary_page else None]
    return {
        "numbers": (chunk.num_values, chunk.total_compressed_size, chunk.data_page_offset),
        "codec": CODECS.get(chunk.compression, -1),
        "start": min(offset for offset in offsets if offset),
    }


def _candidates(encoded: bytes | bytearray, leaf: str) -> Iterator[dict[str, Any]]:
    """Yield candidate chunks of a column, located in the footer by its path, which precedes the needed fields."""
    path = encode_texts(leaf.split("."))
    place = encoded.find(path)
    while place >= 0:
        reader = CompactReader(encoded, place + len(path))
        try:
            column = reader.struct(field=PATH)
            chunk = reader.struct(field=METADATA)
        except ValueError:
            column = chunk = {}
        if {CODEC, VALUES, COMPRESSED, DATA_OFFSET} <= column.keys():
            index = (chunk.get(INDEX_OFFSET), chunk.get(INDEX_LENGTH))
            yield {
                "numbers": (column[VALUES], column[COMPRESSED], column[DATA_OFFSET]),
                "codec": column[CODEC],
                "index": index if all(isinstance(one, int) for one in index) else None,
            }
        place = encoded.find(path, place + 1)
