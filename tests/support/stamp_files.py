"""All available real cutouts, and their pixels as read by astropy."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from alert_data import SHARED, alert_files, swept_folder
from astropy.io import fits

KINDS = ("Science", "Template", "Difference")
SWEEPS = {"ztf": swept_folder()} | ({"rubin": SHARED / "lsst"} if (SHARED / "lsst").is_dir() else {})


def stamps_of(file: Path) -> list[bytes]:
    """Return the cutouts in a file of alerts, of any survey."""
    if file.read_bytes()[:4] == b"PAR1":
        parquet = pq.ParquetFile(file)
        names = [name for name in parquet.schema_arrow.names if name.startswith("cutout")]
        alerts = parquet.read(columns=names).to_pylist() if names else []
    else:
        with file.open("rb") as handle:
            alerts = list(fastavro.reader(handle))
    found = [alert.get(f"cutout{kind}") for alert in alerts for kind in KINDS]
    bare = [stamp["stampData"] if isinstance(stamp, dict) else stamp for stamp in found]
    return [stamp for stamp in bare if stamp is not None]


def real_stamps(survey: str) -> list[bytes]:
    """Return all available cutouts of a survey."""
    return [stamp for file in alert_files(SWEEPS[survey]) for stamp in stamps_of(file)]


def image_of(stamp: bytes) -> npt.NDArray[Any]:
    """Read the primary image of a cutout with astropy."""
    content = gzip.decompress(stamp) if stamp[:2] == b"\x1f\x8b" else stamp
    with fits.open(io.BytesIO(content), ignore_missing_simple=True) as hdus:
        return np.array(hdus[0].data)
