"""Probability maps of the sky, such as those of gravitational-wave events, as the pixel ranges of a ticket.

A map is a FITS file with a HEALPix table: of a single nside with a column PROB (or PROBABILITY), or multi-order with UNIQ
and PROBDENSITY. It is parsed as data and never executed.
"""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flight_server.protocol.errors import BadValue
from flight_server.protocol.ticket_fields import MAX_NSIDE

__all__ = ["read_skymap"]

GZIP_MAGIC = b"\x1f\x8b"
MAX_BYTES = 1 << 30  # of a map, unpacked
COLUMNS = ("PROB", "PROBABILITY", "PROBDENSITY")

Numbers = npt.NDArray[np.float64]


def read_skymap(source: Path | bytes, level: float, nside: int = 128) -> dict[str, Any]:
    """Convert a map and a credible level to the field `skymap` of a ticket.

    Parameters
    ----------
    source
        The FITS file, or the bytes of one; may be gzipped.
    level
        The credible level, above 0 and at most 1: the region has the most probable pixels that add up to it.
    nside
        The nside of the ranges, a power of two, at most 1024. A finer map is summed, a coarser one divided.

    Raises
    ------
    BadValue
        The file is not such a map, or the level or nside is out of range.
    """
    if not 0 < level <= 1:
        raise BadValue(f"the credible level must be above 0 and at most 1, not {level}", field="credible_level", value=level)
    if not 1 <= nside <= MAX_NSIDE or nside & (nside - 1):
        raise BadValue(f"nside must be a power of two up to {MAX_NSIDE}, not {nside}", field="nside", value=nside)
    probabilities = _probabilities(_content(source), nside)
    total = probabilities.sum()
    if not np.isfinite(total) or total <= 0 or (probabilities < 0).any():
        raise BadValue("the probabilities of the sky map are negative or have no finite, positive sum", field="skymap")
    order = np.argsort(-probabilities, kind="stable")
    before = np.cumsum(probabilities[order]) - probabilities[order]
    pixels = np.sort(order[(before < level * total) & (probabilities[order] > 0)])
    ends = np.flatnonzero(np.diff(pixels) > 1)
    firsts, lasts = pixels[np.append(0, ends + 1)], pixels[np.append(ends, len(pixels) - 1)]
    return {"nside": nside, "ranges": np.stack([firsts, lasts], axis=1).tolist()}


def _content(source: Path | bytes) -> bytes:
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
        if content.startswith(GZIP_MAGIC):
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                content = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadValue(f"the sky map cannot be read: {error}"[:200], field="skymap") from error
    if len(content) > MAX_BYTES:
        raise BadValue("the sky map is larger than 1 GiB", field="skymap")
    return content


def _probabilities(content: bytes, nside: int) -> Numbers:
    """Return the probability of each RING pixel at `nside`."""
    from astropy.io import fits

    try:
        with fits.open(io.BytesIO(content), memmap=False) as file:
            hdu = next(one for one in file if getattr(one, "columns", None) is not None)
            header, names = hdu.header, {name.upper(): name for name in hdu.columns.names}
            name = next(names[known] for known in COLUMNS if known in names)
            values = np.asarray(hdu.data[name], dtype=np.float64).ravel()
            if "UNIQ" in names:
                return _of_multi_order(np.asarray(hdu.data[names["UNIQ"]], dtype=np.int64), values, nside)
            own, nested = int(header["NSIDE"]), str(header.get("ORDERING", "RING")).upper().startswith("NEST")
    except (StopIteration, KeyError) as error:
        raise BadValue("the sky map has no HEALPix table with probabilities", field="skymap") from error
    except (OSError, ValueError, TypeError) as error:
        raise BadValue(f"the sky map is not a FITS file of HEALPix pixels: {error}"[:200], field="skymap") from error
    if own < 1 or own & (own - 1) or len(values) != 12 * own * own:
        raise BadValue(f"the sky map has {len(values)} pixels, which does not match its nside {own}", field="skymap")
    return _at(values if nested else _nested(values, own), own, nside)


def _nested(values: Numbers, nside: int) -> Numbers:
    """Reorder RING pixels to NESTED."""
    from astropy_healpix import HEALPix

    return np.asarray(values[HEALPix(nside, order="ring").nested_to_ring(np.arange(len(values)))])


def _at(nested: Numbers, own: int, nside: int) -> Numbers:
    """Return RING pixels at another nside, from NESTED ones."""
    from astropy_healpix import HEALPix

    if nside < own:
        nested = nested.reshape(-1, (own // nside) ** 2).sum(axis=1)
    elif nside > own:
        nested = np.repeat(nested / (nside // own) ** 2, (nside // own) ** 2)
    return np.asarray(nested[HEALPix(nside, order="ring").ring_to_nested(np.arange(len(nested)))])


def _of_multi_order(uniq: npt.NDArray[np.int64], density: Numbers, nside: int) -> Numbers:
    """Sum pixels of several sizes, numbered by UNIQ, with probabilities per steradian."""
    from astropy_healpix import uniq_to_level_ipix

    if len(uniq) != len(density) or (uniq < 4).any():  # noqa: PLR2004  (the first pixel's number)
        raise BadValue("the sky map has invalid UNIQ pixel numbers", field="skymap")
    levels, pixels = uniq_to_level_ipix(uniq)
    nested = np.zeros(12 * nside * nside)
    wanted = nside.bit_length() - 1
    for level in np.unique(levels).tolist():
        here = levels == level
        probability = density[here] * np.pi / (3 * 4.0**level)
        if level >= wanted:
            np.add.at(nested, pixels[here] >> 2 * (level - wanted), probability)
        else:
            parts = 4 ** (wanted - level)
            places = (pixels[here][:, None] * parts + np.arange(parts)).ravel()
            np.add.at(nested, places, np.repeat(probability / parts, parts))
    return _at(nested, nside, nside)
