"""Real rows repeated, with some of their cells replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["KINDS", "real_stamps", "repeated", "with_columns", "with_fields"]

KINDS = ("Science", "Template", "Difference")


def repeated(rows: pa.Table, count: int) -> pa.Table:
    """Return `count` rows, repeated cyclically; each column becomes one array."""
    return rows.take(np.arange(count) % len(rows)).combine_chunks()


def with_columns(rows: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    """Replace columns in place of the old ones."""
    for name, cells in columns.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), cells)
    return rows


def with_fields(structs: pa.ChunkedArray, fields: Mapping[str, pa.Array]) -> pa.StructArray:
    """Replace fields of structs, none of which may be null."""
    held = structs.combine_chunks()
    cells = [fields[field.name].cast(field.type) if field.name in fields else held.field(field.name) for field in held.type]
    return pa.StructArray.from_arrays(cells, fields=list(held.type))


def real_stamps(files: Iterable[Path]) -> dict[str, pa.BinaryArray]:
    """Read the cutouts of all alerts that have three, by kind; those of one alert have the same index.

    Parameters
    ----------
    files
        Parquet files of alerts, of ZTF's or of Rubin's schema.
    """
    found = []
    for file in files:
        rows = pq.read_table(file, columns=[f"cutout{kind}" for kind in KINDS])
        cells = [rows[f"cutout{kind}"].combine_chunks() for kind in KINDS]
        found.append(pa.table([one.field("stampData") if pa.types.is_struct(one.type) else one for one in cells], list(KINDS)))
    whole = pa.concat_tables(found).drop_null().combine_chunks()
    return {kind: whole[kind].combine_chunks() for kind in KINDS}
