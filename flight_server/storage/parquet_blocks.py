"""Image stamps in Parquet blocks: one pass for all alerts that are asked from a block.

A block has the broker's layout: `objectId`, `candid` and a struct with `stampData` for each kind.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from flight_server.errors import CorruptData
from flight_server.storage.protocols import Stamps

__all__ = ["ParquetCutouts", "block_schema", "footer_crc", "scatter", "write_block"]

ROW_GROUP_ROWS = 32
PAGE_BYTES = 65_536
INDEXED_BLOCKS = 256
TAIL = 8  # bytes behind the metadata: their length and the magic


@dataclass(frozen=True, slots=True)
class _Index:
    """What is known of a block without its stamps: the footer, its alerts sorted by ID, its row groups."""

    metadata: pq.FileMetaData
    alert_ids: npt.NDArray[np.int64]  # sorted
    rows: npt.NDArray[np.int64]  # the row of each
    object_ids: pa.StringArray  # by row
    group_starts: npt.NDArray[np.int64]


def block_schema(kinds: Sequence[str]) -> pa.Schema:
    """Give the schema of a block that holds stamps of these kinds."""
    stamp = pa.struct([pa.field("stampData", pa.binary())])
    ids = [pa.field("objectId", pa.string()), pa.field("candid", pa.int64())]
    return pa.schema(ids + [pa.field(f"cutout{kind}", stamp) for kind in kinds])


def write_block(file: Path | BinaryIO, stamps: pa.Table, compression: str = "none") -> None:
    """Write a block with small row groups, a page index and page checksums.

    `stamps` has the columns that `block_schema` says, and may have others. Stamps are gzip already, so that
    compression is for the others.
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


class ParquetCutouts:
    """A `CutoutStore` over blocks of one folder.

    Parameters
    ----------
    root
        The folder; paths are relative to it.
    footer_crc
        Gives the CRC-32 of a block's footer as it was written, or None where that is not known.
    """

    def __init__(self, root: Path, footer_crc: Callable[[str], int | None] = lambda _: None) -> None:
        self._root = root
        self._footer_crc = footer_crc
        self._indexes: OrderedDict[str, _Index] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, paths: pa.StringArray, object_ids: pa.Array, alert_ids: pa.Array, kinds: Sequence[str]) -> Stamps:
        """Read the stamps of n alerts, in their order; see `CutoutStore.read`."""
        found: dict[str, list[pa.Array]] = {kind: [] for kind in kinds}
        places: list[npt.NDArray[np.int64]] = []
        bytes_read = 0
        encoded = paths.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        wanted = alert_ids.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        for code, path in enumerate(encoded.dictionary.to_pylist()):
            here = np.flatnonzero(codes == code)
            with _Naming(path):
                index = self._index(path)
                rows = _find_rows(index, wanted[here], object_ids.take(pa.array(here)))
                held = rows >= 0
                stamps, read = _read_rows(self._file(path, index.metadata), index, rows[held], kinds)
            places.append(here[held])
            bytes_read += read
            for kind in kinds:
                found[kind].append(stamps[kind])
        return Stamps({kind: scatter(found[kind], places, len(paths)) for kind in kinds}, bytes_read)

    def _index(self, path: str) -> _Index:
        with self._lock:
            if path in self._indexes:
                self._indexes.move_to_end(path)
                return self._indexes[path]
        wanted = self._footer_crc(path)
        if wanted is not None and footer_crc(self._root / path) != wanted:
            raise OSError("the footer is not what was written")
        made = _index(self._file(path, None))
        with self._lock:
            self._indexes[path] = made
            while len(self._indexes) > INDEXED_BLOCKS:
                self._indexes.popitem(last=False)
        return made

    def _file(self, path: str, metadata: pq.FileMetaData | None) -> pq.ParquetFile:
        source = pa.memory_map(str(self._root / path))
        return pq.ParquetFile(source, metadata=metadata, page_checksum_verification=True)


def footer_crc(file: Path) -> int:
    """Give the CRC-32 of a Parquet file's footer: its metadata, their length and the magic at the end."""
    with file.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(size - TAIL, 0))
        length = int.from_bytes(handle.read(4), "little") + TAIL
        handle.seek(max(size - length, 0))
        return zlib.crc32(handle.read())


class _Naming:
    """Turns what Arrow says of a broken block into an error that names the block."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | pa.ArrowException | KeyError | ValueError):
            name = self._path.rpartition("/")[2]
            raise CorruptData(
                f"the block {name} cannot be read: it is missing or damaged", field="cutouts", value=name
            ) from error


def _index(file: pq.ParquetFile) -> _Index:
    ids = file.read(columns=["objectId", "candid"]).combine_chunks()
    alert_ids = ids["candid"].to_numpy()
    rows = np.argsort(alert_ids, kind="stable")
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    return _Index(file.metadata, alert_ids[rows], rows, ids["objectId"].chunk(0), starts)


def _find_rows(index: _Index, alert_ids: npt.NDArray[np.int64], object_ids: pa.Array) -> npt.NDArray[np.int64]:
    """Give the row of each alert in the block, -1 where it is not there or belongs to another object."""
    place = np.minimum(np.searchsorted(index.alert_ids, alert_ids), len(index.alert_ids) - 1)
    rows = np.where(index.alert_ids[place] == alert_ids, index.rows[place], -1)
    same = pa.compute.equal(index.object_ids.take(pa.array(np.maximum(rows, 0))), object_ids.cast(pa.string()))
    return np.where(pa.compute.fill_null(same, fill_value=False).to_numpy(zero_copy_only=False), rows, -1)


def _read_rows(
    file: pq.ParquetFile, index: _Index, rows: npt.NDArray[np.int64], kinds: Sequence[str]
) -> tuple[dict[str, pa.Array], int]:
    """Read these rows' stamps, in their order, and say how many bytes of column chunks that took."""
    groups = np.searchsorted(index.group_starts, rows, side="right") - 1
    needed = np.unique(groups).tolist()
    columns = [f"cutout{kind}.stampData" for kind in kinds]
    if not needed:
        return {kind: pa.array([], pa.binary()) for kind in kinds}, 0
    table = file.read_row_groups(needed, columns=columns, use_threads=False)
    sizes = np.diff(index.group_starts)[needed]
    offsets = dict(zip(needed, (np.cumsum(sizes) - sizes).tolist(), strict=True))
    inside = pa.array(rows - index.group_starts[groups] + np.array([offsets[group] for group in groups.tolist()]))
    stamps = {kind: _flat(pa.compute.struct_field(table[f"cutout{kind}"], "stampData").take(inside)) for kind in kinds}
    return stamps, sum(_chunk_bytes(file.metadata.row_group(group), columns) for group in needed)


def _chunk_bytes(group: pq.RowGroupMetaData, columns: Sequence[str]) -> int:
    chunks = (group.column(number) for number in range(group.num_columns))
    return sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema in columns)


def scatter(parts: list[pa.Array], places: list[npt.NDArray[np.int64]], rows: int) -> pa.BinaryArray:
    """Put the parts' values at their places among `rows`, nulls elsewhere."""
    position = np.full(rows, -1)
    if places:
        order = np.concatenate(places)
        position[order] = np.arange(len(order))
    values = pa.concat_arrays(parts) if parts else pa.array([], pa.binary())
    return values.take(pa.array(position, mask=position < 0))


def _flat(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
