"""Files of real alerts with some fields changed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

STAMPS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


def alerts_of(file: Path) -> pa.Table:
    return pq.ParquetFile(file).read()


def with_fields(alerts: pa.Table, **values: pa.Array | None) -> pa.Table:
    """Replace, add or (None) drop columns."""
    for name, array in values.items():
        if name in alerts.column_names:
            place = alerts.column_names.index(name)
            alerts = alerts.remove_column(place) if array is None else alerts.set_column(place, name, array)
        else:
            alerts = alerts.append_column(name, array)
    return alerts


def with_candidates(alerts: pa.Table, **values: pa.Array) -> pa.Table:
    """Replace or add fields of the candidate struct."""
    struct = alerts["candidate"].combine_chunks()
    fields = {field.name: struct.field(field.name) for field in struct.type} | values
    return with_fields(alerts, candidate=pa.StructArray.from_arrays(list(fields.values()), names=list(fields)))


def saved(alerts: pa.Table, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(alerts, file)
    return file
