"""The real alerts that simulated ones are made of, and variants of their stamps."""

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
# the eight ways to lay a square image: a turn by quarters, mirrored or not
SYMMETRIES = [(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


def load_template(path: Path | None = None) -> pa.Table:
    """Load real alerts, n rows as nested as the broker writes them; those that the package carries by default."""
    if path is not None:
        return pq.ParquetFile(path).read().combine_chunks()
    with as_file(files("alertflight_sample") / PACKAGED) as packaged:
        return pq.ParquetFile(packaged).read().combine_chunks()


def stamp_variants(stamps: list[bytes]) -> list[bytes]:
    """Give each stamp in all its symmetries, as gzip of FITS again."""
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
            image = pixels  # one that is not square keeps its place
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
    raise ValueError(f"a stamp has no {name}")
