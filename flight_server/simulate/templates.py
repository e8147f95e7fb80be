"""The real alerts from which simulated ones are made, and variants of their cutouts."""

from __future__ import annotations

import gzip
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["load_template", "stamp_variants"]

PACKAGED = "part-00000-836b2d5e-4f86-423e-8093-c16225c1fb1f-c000.snappy.parquet"
FITS_BLOCK = 2880
CARD = 80
# the eight symmetries of a square image: quarter turns, mirrored or not
SYMMETRIES = [(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


def load_template(path: Path | None = None) -> pa.Table:
    """Load n real alerts, nested as in broker files; by default those in the package."""
    if path is not None:
        return pq.ParquetFile(path).read().combine_chunks()
    with as_file(files("alertflight_sample") / PACKAGED) as packaged:
        return pq.ParquetFile(packaged).read().combine_chunks()


def stamp_variants(stamps: list[bytes]) -> list[bytes]:
    """Return each cutout in all its symmetries, as gzipped FITS."""
    return [variant for stamp in stamps for variant in _variants(stamp)]


def _variants(stamp: bytes) -> list[bytes]:
    plain = gzip.decompress(stamp)
    start = next(at for at in range(FITS_BLOCK, len(plain) + 1, FITS_BLOCK) if _ends(plain[at - FITS_BLOCK : at]))
    size = [int(_card(plain[:start], name)) for name in ("NAXIS2", "NAXIS1")]
    pixels = np.frombuffer(plain, ">f4", size[0] * size[1], start).reshape(size)
    made = []
    for turns, mirrored in SYMMETRIES:
        image = np.rot90(pixels[:, ::-1] if mirrored else pixels, turns)
        if image.shape != pixels.shape:
            image = pixels  # images that are not square keep their orientation
        body = plain[:start] + image.tobytes() + plain[start + pixels.nbytes :]
        made.append(gzip.compress(body, mtime=0))
    return made


def _ends(block: bytes) -> bool:
    return any(block[at : at + CARD].rstrip() == b"END" for at in range(0, FITS_BLOCK, CARD))


def _card(header: bytes, name: str) -> str:
    for at in range(0, len(header), CARD):
        card = header[at : at + CARD].decode("ascii")
        if card[:8].strip() == name:
            return card[10:].partition("/")[0].strip()
    raise ValueError(f"the header of a cutout has no {name}")
