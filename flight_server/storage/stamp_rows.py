"""The cutouts of an ingest that must be written: those of each alert once, however often they arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.columns import Column, Projection
from flight_server.catalog.declarations import AlertLayout, Table
from flight_server.protocol.errors import CorruptData
from flight_server.storage.merge import merge_over
from flight_server.storage.protocols import CutoutStore, RowView, StampFailure
from flight_server.storage.scans import Scan

__all__ = ["BLOCK_ROWS", "WriteBlocks", "place_names", "place_stamps", "stamp_places"]

BLOCK_ROWS = 2048  # about 80 MB of ZTF cutouts
# takes rows without cutouts, and their cutouts by column name; returns the path of the block of each row
WriteBlocks = Callable[[pa.Table, pa.Table], list[str]]


def place_names(table: Table, layout: AlertLayout) -> tuple[str, str, str]:
    """Return the columns of a table of stamps with the path of the block, the ID of the row, and that of the alert."""
    return str(table.path), table.id, layout.alert_id


def stamp_places(table: Table, layout: AlertLayout, columns: Mapping[str, Column]) -> Projection:
    """Return the columns of `place_names`, each once: rows may have the ID of the alert themselves."""
    return Projection(columns[name] for name in dict.fromkeys(place_names(table, layout)))


def place_stamps(  # noqa: PLR0917  (cells of rows, their positions, and their destination)
    table: Table,
    layout: AlertLayout,
    columns: Mapping[str, Column],
    rows: pa.Table,
    keys: npt.NDArray[np.bytes_],
    view: RowView,
    cutouts: CutoutStore,
    write: WriteBlocks,
) -> pa.Table:
    """Write the cutouts of n rows to blocks, unless the store already has the same ones for a row.

    Parameters
    ----------
    table, layout, columns
        The table, the layout of its survey, and the known columns.
    rows, keys
        The rows with their cutouts, and their row keys.
    view, cutouts
        The current content of the store.
    write
        Writes blocks of at most `BLOCK_ROWS` rows.

    Returns
    -------
    rows
        The rows, with the path of the block in the place of the cutouts.
    """
    names = list(layout.cutout_columns.values())
    rows = _with_all(rows, names)
    stamps = rows.select(names).combine_chunks()
    bare = rows.drop_columns(names)
    paths = np.full(len(keys), None, dtype=object)
    fresh = np.ones(len(keys), dtype=bool)
    wanted = stamp_places(table, layout, columns)
    parts = list(view.scan(Scan(table=table, columns=wanted, keys=keys)))
    if parts:
        held = pa.Table.from_batches([part.batch for part in parts])
        where = np.concatenate([part.request_index for part in parts])
        held_paths, object_ids, alert_ids = (held[name].combine_chunks() for name in place_names(table, layout))
        read = cutouts.read(layout.block, held_paths, object_ids, alert_ids, list(layout.cutout_columns))
        if read.failures:
            _refuse(read.failures[0], held_paths, alert_ids)
        old = pa.table(list(read.kinds.values()), names=names)
        stamps, fresh = merge_over(old, where, stamps)
        # blocks are searched by alert ID: under another ID the cutouts must be written again
        renamed = pc.not_equal(rows[layout.alert_id].combine_chunks().take(pa.array(where)), alert_ids)
        fresh[where] |= pc.fill_null(renamed, fill_value=True).to_numpy(zero_copy_only=False)
        paths[where] = held_paths.to_pylist()
    some = np.logical_or.reduce([stamps[name].is_valid().to_numpy() for name in names])
    todo = np.flatnonzero(fresh & some)
    for first in range(0, len(todo), BLOCK_ROWS):
        chosen = todo[first : first + BLOCK_ROWS]
        paths[chosen] = write(bare.take(pa.array(chosen)), stamps.take(pa.array(chosen)))
    return bare.append_column(str(table.path), pa.array(paths.tolist(), pa.string()))


def _refuse(failure: StampFailure, paths: pa.Array, alert_ids: pa.Array) -> None:
    """Raise CorruptData if stored cutouts cannot be compared with new ones, since overwriting would lose them."""
    name = paths[failure.row].as_py().rpartition("/")[2]
    alert = alert_ids[failure.row].as_py()
    message = f"the {failure.kind} cutout of alert {alert} cannot be read from the block {name} ({failure.reason})"
    raise CorruptData(message, field="cutouts", value=name)


def _with_all(rows: pa.Table, names: list[str]) -> pa.Table:
    for name in names:
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(len(rows), pa.binary()))
    return rows
