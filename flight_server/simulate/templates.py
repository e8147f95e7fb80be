"""The real alerts from which simulated ones are made, and variants of their cutouts."""

from __future__ import annotations

import gzip
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flight_server.simulate.recipes import Recipe

__all__ = ["held_stamps", "load_template", "stamp_variants"]

GZIP = b"\x1f\x8b"
FITS_BLOCK = 2880
CARD = 80
# the eight symmetries of a square image: quarter turns, mirrored or not
SYMMETRIES = [(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


def load_template(recipe: Recipe, path: Path | None = None) -> pa.Table:
    """Load n real alerts of objects, nested as in broker files; by default those in the package."""
    if path is not None:
        alerts = pq.ParquetFile(path).read()
    else:
        with as_file(files("alertflight_sample") / recipe.template) as packaged:
            alerts = pq.ParquetFile(packaged).read()
    top, _, inner = recipe.values["object"][0].partition(".")
    names = alerts[top].combine_chunks()
    names = pc.struct_field(names, inner) if inner else names
    nobody = pc.is_null(names) if pa.types.is_string(names.type) else pc.equal(pc.fill_null(names, 0), 0)
    return alerts.filter(pc.invert(nobody)).combine_chunks()


def held_stamps(template: pa.Table, path: str) -> list[bytes]:
    """Return the cutouts of one kind, of the alerts that have one."""
    top, _, inner = path.partition(".")
    stamps = template[top].combine_chunks()
    found: list[bytes] = (pc.struct_field(stamps, inner) if inner else stamps).drop_null().to_pylist()
    return [stamp for stamp in found if stamp]


def stamp_variants(stamps: list[bytes]) -> list[bytes]:
    """Return each cutout in all its symmetries, as gzipped FITS; those that are not gzipped, of several images, as they are."""
    return [variant for stamp in stamps for variant in (_variants(stamp) if stamp.startswith(GZIP) else [stamp])]


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
