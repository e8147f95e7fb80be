"""Writing of cutouts to blocks: those of an alert are written once, however often they arrive."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.columns import Column
from flight_server.catalog.declarations import AlertLayout, BlockLayout, Table
from flight_server.storage.blocks import BlockCutouts, LocalFiles
from flight_server.storage.blocks.footers import footer_crc
from flight_server.storage.blocks.output import block_schema, write_block
from flight_server.storage.embedded.files import make_folder, publish
from flight_server.storage.embedded.manifest import BlockRecord
from flight_server.storage.embedded.snapshot import Snapshot
from flight_server.storage.injection import injection_point
from flight_server.storage.stamp_rows import place_stamps

__all__ = ["BLOCK_FOLDER", "StampBlocks"]

BLOCK_FOLDER = "blocks"


class StampBlocks:
    """A writer of blocks in the folder of a store; `records` lists those to add to the manifest.

    Parameters
    ----------
    folder
        The folder of the store.
    view
        The current content of the store.
    held
        The blocks in the manifest.
    """

    def __init__(self, folder: Path, view: Snapshot, held: Sequence[BlockRecord]) -> None:
        self._folder = folder
        self._view = view
        self._held = {record.name: record for record in held}
        self._files = LocalFiles(folder)
        self._cutouts = BlockCutouts(self._files, lambda name: self._held[name].footer_crc if name in self._held else None)
        self.records: list[BlockRecord] = []

    def store(
        self,
        table: Table,
        layout: AlertLayout,
        columns: Mapping[str, Column],
        rows: pa.Table,
        keys: npt.NDArray[np.bytes_],
    ) -> pa.Table:
        """Write the cutouts of n rows to blocks; see `place_stamps`."""

        def write(bare: pa.Table, stamps: pa.Table) -> list[str]:
            names = (None if layout.block.object_id is None else table.id, layout.alert_id)
            ids = bare.select([name for name in names if name is not None])
            return [self._write(ids, stamps, layout.block)] * len(bare)

        return place_stamps(table, layout, columns, rows, keys, self._view, self._cutouts, write)

    def _write(self, ids: pa.Table, stamps: pa.Table, layout: BlockLayout) -> str:
        schema = block_schema(layout)
        cells = [column.combine_chunks() for column in ids.columns]
        for column in stamps.columns:
            kind, stamp = schema.field(len(cells)).type, column.combine_chunks()
            cells.append(pa.StructArray.from_arrays([stamp], fields=list(kind)) if pa.types.is_struct(kind) else stamp)
        folder = self._folder / BLOCK_FOLDER
        make_folder(folder)
        draft = folder / f"draft-{os.getpid()}.parquet"
        write_block(draft, pa.Table.from_arrays(cells, schema=schema), layout)
        injection_point("block.drafted")
        content = draft.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        # named by its content, so that the same alerts yield the same table whatever was ingested before
        name = f"{BLOCK_FOLDER}/{digest[:16]}.parquet"
        publish(draft, self._folder / name)
        injection_point("block.published")
        if name not in self._held:
            self._held[name] = BlockRecord(name, len(ids), len(content), digest, footer_crc(self._files.open(name)))
            self.records.append(self._held[name])
        return name
