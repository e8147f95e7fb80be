"""Tables of Rubin alerts: real ones, which are not in the repository, with new names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spark_blocks.replacing import KINDS, real_stamps, repeated, with_columns, with_fields

__all__ = ["rubin_alerts"]

FIRST_SOURCE = 169_298_433_142_784_000
FIRST_OBJECT = 169_298_433_175_290_000


def rubin_alerts(files: Sequence[Path], count: int = 1000, objects: int = 300, first: int = 0) -> pa.Table:
    """Return a table of alerts with all columns of the first file, and the cutouts of all files, repeated cyclically.

    Parameters
    ----------
    files
        Parquet files of real alerts.
    count, objects, first
        As for `ztf_alerts`.
    """
    real = repeated(pq.read_table(files[0]), count)
    numbers = first + np.arange(count)
    sources = pa.array(FIRST_SOURCE + numbers)
    owners = pa.array(FIRST_OBJECT + first + np.arange(count) % objects)
    stamps = real_stamps(files)
    drawn = {f"cutout{kind}": stamps[kind].take(pa.array(numbers % len(stamps[kind]))) for kind in KINDS}
    changes = {"diaSourceId": sources, "diaObjectId": owners}
    inner = {name: with_fields(real[name], changes) for name in ("diaSource", "diaObject")}
    return with_columns(real, {"diaSourceId": sources, **inner, **drawn})
