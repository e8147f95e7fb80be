"""Cutouts to pixels: the server's batch decoding against astropy, one at a time."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from measure import Line, compare, line

from flight_server.cutouts.arrays import decode
from flight_server.settings import load_settings

__all__ = ["bench_decoding"]

TOGETHER = 64  # cutouts per request
WARM = 2
GOALS = {"ztf": 1 / 5, "rubin": 1 / 10}  # the largest ratio to astropy's time
MADE = 200
Request = tuple[pa.BinaryArray, list[bytes]]
SIDES, PSF = (30, 31, 33, 38), 41  # of the synthetic cutouts


def bench_decoding(alerts: Path, rounds: int) -> Iterator[Line]:
    """Decode the cutouts of a folder of Parquet files; yield a line for each survey.

    Parameters
    ----------
    alerts
        The folder with alerts of ZTF and Rubin; without Rubin alerts, synthetic cutouts in their layout are used.
    rounds
        Requests per side, of 64 cutouts each.
    """
    found = _stamps(alerts)
    sources = {survey: "real cutouts" for survey, stamps in found.items() if stamps}
    if not found["rubin"]:
        found["rubin"], sources["rubin"] = _made(), "synthetic cutouts in Rubin's layout"
    settings = load_settings(environment={}).cutouts
    for survey, stamps in found.items():
        shape = settings.array_shape[survey]
        requests = [_request(stamps, number) for number in range(rounds)]

        def ours(request: Request, shape: tuple[int, int] = shape) -> object:
            return decode(request[0], shape, settings.max_unpacked)

        _check(stamps, shape, settings.max_unpacked)
        times = compare(requests, ours, _by_astropy, warm=requests[:WARM])
        each = [float(np.median(side)) / TOGETHER * 1000 for side in times]
        note = f"{sources[survey]}; {each[0]:.0f} us per cutout, astropy {each[1]:.0f}, {each[1] / each[0]:.1f}x as fast"
        yield line(f"decode {TOGETHER} cutouts, {survey}", "astropy", times, GOALS[survey], note)


def _request(stamps: Sequence[bytes], number: int) -> Request:
    """Return cutouts in the input format of each side: as read from a block, and as a client has them."""
    some = [stamps[(number * TOGETHER + place) % len(stamps)] for place in range(TOGETHER)]
    return pa.array(some, pa.binary()), some


def _by_astropy(request: Request) -> list[object]:
    return [_image(stamp) for stamp in request[1]]


def _image(stamp: bytes) -> np.ndarray:  # type: ignore[type-arg]
    content = gzip.decompress(stamp) if stamp.startswith(b"\x1f\x8b") else stamp
    with fits.open(io.BytesIO(content), ignore_missing_simple=True) as hdus:
        return hdus[0].data


def _check(stamps: Sequence[bytes], shape: tuple[int, int], most: int) -> None:
    """Raise ValueError unless both sides read the same pixels."""
    decoded = decode(pa.array(stamps, pa.binary()), shape, most)
    for place, stamp in enumerate(stamps):
        image = _image(stamp)
        rows, columns = image.shape
        if decoded.pixels[place, :rows, :columns].tobytes() != image.astype("<f4").tobytes():
            raise ValueError(f"cutout {place} differs from the pixels of astropy")


def _stamps(folder: Path) -> dict[str, list[bytes]]:
    """Return the cutouts in all Parquet files of a folder, by survey: in structs for ZTF, as columns for Rubin."""
    found: dict[str, list[bytes]] = {"ztf": [], "rubin": []}
    for file in sorted(folder.rglob("*.parquet")):
        if not file.is_file():
            continue
        parquet = pq.ParquetFile(file)
        names = [name for name in parquet.schema_arrow.names if name.startswith("cutout")]
        for column in parquet.read(columns=names).columns if names else ():
            cells = column.combine_chunks()
            survey = "ztf" if pa.types.is_struct(cells.type) else "rubin"
            bare = cells.field("stampData") if survey == "ztf" else cells
            found[survey] += bare.drop_null().to_pylist()
    return found


def _made() -> list[bytes]:
    """Return synthetic cutouts of three HDUs: image, uncertainty and point spread function, of varying size."""
    random = np.random.default_rng(5)
    made = []
    for number in range(MADE):
        side = SIDES[number % len(SIDES)]
        image = fits.PrimaryHDU(random.normal(size=(side, side)).astype(">f4"))
        for place in range(18):  # as many cards as the position in the sky takes
            image.header[f"WCS{place}"] = float(random.normal())
        noise = fits.ImageHDU(random.random((side, side)).astype(">f4"), name="UNCERT")
        psf = fits.ImageHDU(random.random((PSF, PSF)), name="PSFIMAGE")
        file = io.BytesIO()
        fits.HDUList([image, noise, psf]).writeto(file)
        made.append(file.getvalue())
    return made
