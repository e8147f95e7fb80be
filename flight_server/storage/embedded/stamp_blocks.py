"""Stamps on their way into blocks: each alert's stamps are written once, however often they arrive."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalogue import Column
from flight_server.declarations import AlertLayout, Table
from flight_server.injection import injection_point
from flight_server.storage.embedded.files import publish
from flight_server.storage.embedded.manifest import BlockRecord
from flight_server.storage.embedded.merging import merge_over
from flight_server.storage.embedded.snapshot import Snapshot
from flight_server.storage.parquet_blocks import ParquetCutouts, block_schema, footer_crc, write_block
from flight_server.storage.protocols import Scan

__all__ = ["BLOCK_FOLDER", "BLOCK_ROWS", "StampBlocks"]

BLOCK_FOLDER = "blocks"
BLOCK_ROWS = 2048  # about 80 MB of ZTF stamps


class StampBlocks:
    """Writes blocks into a store's folder; `records` lists those that the manifest must take in.

    Parameters
    ----------
    folder
        The store's folder.
    view
        What the store holds already.
    held
        The blocks that the manifest has.
    """

    def __init__(self, folder: Path, view: Snapshot, held: Sequence[BlockRecord]) -> None:
        self._folder = folder
        self._view = view
        self._held = {record.name: record for record in held}
        self._cutouts = ParquetCutouts(folder, lambda name: self._held[name].footer_crc if name in self._held else None)
        self.records: list[BlockRecord] = []

    def store(
        self,
        table: Table,
        layout: AlertLayout,
        columns: Mapping[str, Column],
        rows: pa.Table,
        keys: npt.NDArray[np.bytes_],
    ) -> pa.Table:
        """Put the stamps of n rows into blocks, unless the store has the same ones for that row already.

        Returns
        -------
        rows
            The rows, with the block's name in place of the stamps.
        """
        names = list(layout.stamp_columns.values())
        rows = _with_all(rows, names)
        stamps = rows.select(names).combine_chunks()
        paths = np.full(len(keys), None, dtype=object)
        fresh = np.ones(len(keys), dtype=bool)
        wanted = tuple(columns[name] for name in (str(table.path), table.id, layout.alert_id))
        parts = list(self._view.scan(Scan(table=table, columns=wanted, keys=keys)))
        if parts:
            held = pa.Table.from_batches([part.batch for part in parts])
            where = np.concatenate([part.asked for part in parts])
            held_paths, object_ids, alert_ids = (held[column.name].combine_chunks() for column in wanted)
            read = self._cutouts.read(held_paths, object_ids, alert_ids, list(layout.stamp_columns))
            old = pa.table(list(read.kinds.values()), names=names)
            stamps, fresh = merge_over(old, where, stamps)
            # a block is searched by the alert's ID: under another one the stamps must be written again
            renamed = pc.not_equal(rows[layout.alert_id].combine_chunks().take(pa.array(where)), alert_ids)
            fresh[where] |= pc.fill_null(renamed, fill_value=True).to_numpy(zero_copy_only=False)
            paths[where] = held_paths.to_pylist()
        some = np.logical_or.reduce([stamps[name].is_valid().to_numpy() for name in names])
        todo = np.flatnonzero(fresh & some)
        for first in range(0, len(todo), BLOCK_ROWS):
            chosen = todo[first : first + BLOCK_ROWS]
            ids = rows.select([table.id, layout.alert_id]).take(pa.array(chosen))
            paths[chosen] = self._write(ids, stamps.take(pa.array(chosen)), list(layout.stamp_columns))
        return rows.drop_columns(names).append_column(str(table.path), pa.array(paths.tolist(), pa.string()))

    def _write(self, ids: pa.Table, stamps: pa.Table, kinds: list[str]) -> str:
        schema = block_schema(kinds)
        cells = [column.combine_chunks() for column in ids.columns]
        for kind, column in zip(kinds, stamps.columns, strict=True):
            cells.append(pa.StructArray.from_arrays([column.combine_chunks()], fields=list(schema.field(f"cutout{kind}").type)))
        folder = self._folder / BLOCK_FOLDER
        folder.mkdir(exist_ok=True)
        draft = folder / f"draft-{os.getpid()}.parquet"
        write_block(draft, pa.Table.from_arrays(cells, schema=schema))
        injection_point("block.drafted")
        content = draft.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        # named by its content, so that the same alerts give the same table whatever came before
        name = f"{BLOCK_FOLDER}/{digest[:16]}.parquet"
        publish(draft, self._folder / name)
        injection_point("block.published")
        if name not in self._held:
            self._held[name] = BlockRecord(name, len(ids), len(content), digest, footer_crc(self._folder / name))
            self.records.append(self._held[name])
        return name


def _with_all(rows: pa.Table, names: list[str]) -> pa.Table:
    for name in names:
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(len(rows), pa.binary()))
    return rows
