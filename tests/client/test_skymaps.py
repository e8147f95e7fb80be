"""Probability maps as ranges of pixels."""

from __future__ import annotations

import gzip
import io
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy_healpix import HEALPix, level_ipix_to_uniq

from flight_client.skymaps import read_skymap
from flight_server.protocol.errors import BadValue
from flight_server.protocol.ticket_json import parse_ticket


def file_of(columns: dict[str, Any], **header: Any) -> bytes:
    hdu = fits.BinTableHDU.from_columns(
        [fits.Column(name, format=kind, array=values) for name, (kind, values) in columns.items()]
    )
    hdu.header.update(header)
    written = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(written)
    return written.getvalue()


def pixels(skymap: dict[str, Any]) -> set[int]:
    return {pixel for first, last in skymap["ranges"] for pixel in range(first, last + 1)}


def smooth(nside: int) -> np.ndarray:
    """A map of a bright spot, RING order."""
    lon, lat = HEALPix(nside, order="ring").healpix_to_lonlat(np.arange(12 * nside**2))
    spot = np.exp(-((lat.deg - 20) ** 2) / 50 - ((lon.deg - 120) ** 2) / 200)
    return spot / spot.sum()


def test_the_likeliest_pixels_are_taken_until_the_level() -> None:
    ring = smooth(16)
    order = np.argsort(-ring, kind="stable")
    for level in (0.1, 0.5, 0.9):
        reached = np.cumsum(ring[order])
        expected = set(order[: int(np.searchsorted(reached, level)) + 1].tolist())
        found = read_skymap(file_of({"PROB": ("D", ring)}, NSIDE=16, ORDERING="RING"), level, 16)
        assert pixels(found) == expected
        assert parse_ticket(b'{"table": "ztf", "skymap": %s}' % str(found).replace("'", '"').encode()).skymap is not None


def test_order_nside_and_packing_do_not_matter() -> None:
    ring = smooth(16)
    healpix = HEALPix(16, order="ring")
    nested = ring[healpix.nested_to_ring(np.arange(len(ring)))]
    plain = read_skymap(file_of({"PROB": ("D", ring)}, NSIDE=16, ORDERING="RING"), 0.9, 16)
    assert read_skymap(file_of({"PROB": ("D", nested)}, NSIDE=16, ORDERING="NESTED"), 0.9, 16) == plain
    assert read_skymap(gzip.compress(file_of({"PROB": ("D", ring)}, NSIDE=16)), 0.9, 16) == plain
    fine = np.repeat(nested / 16, 16)
    assert read_skymap(file_of({"PROB": ("D", fine)}, NSIDE=64, ORDERING="NESTED"), 0.9, 16) == plain
    # a coarser map divided: the same sky, up to the pixel in which the level is reached
    finer = read_skymap(file_of({"PROB": ("D", ring)}, NSIDE=16), 0.9, 64)
    parents = healpix.nested_to_ring(HEALPix(64, order="ring").ring_to_nested(np.array(sorted(pixels(finer)))) // 16)
    assert set(parents.tolist()) == pixels(plain)


def test_multi_order_maps() -> None:
    ring = smooth(16)
    healpix = HEALPix(16, order="ring")
    nested = ring[healpix.nested_to_ring(np.arange(len(ring)))]
    area = np.pi / 3 / 16**2
    coarse = nested.reshape(-1, 4)[: len(nested) // 8].sum(axis=1)  # the first half with pixels of twice the edge
    uniq = np.concatenate(
        [level_ipix_to_uniq(3, np.arange(len(coarse))), level_ipix_to_uniq(4, np.arange(4 * len(coarse), len(nested)))]
    )
    density = np.concatenate([coarse / (4 * area), nested[4 * len(coarse) :] / area])
    content = file_of({"UNIQ": ("K", uniq), "PROBDENSITY": ("D", density)}, ORDERING="NUNIQ")
    even = nested.copy()
    even[: 4 * len(coarse)] = np.repeat(coarse / 4, 4)
    expected = read_skymap(file_of({"PROB": ("D", even)}, NSIDE=16, ORDERING="NESTED"), 0.8, 16)
    assert pixels(read_skymap(content, 0.8, 16)) == pixels(expected)
    assert len(pixels(read_skymap(content, 0.8, 8))) < len(pixels(expected))


@pytest.mark.parametrize(
    ("content", "level", "nside", "field"),
    [
        (b"b'\\x1f\\x8b'", 0.9, 16, "skymap"),
        (b"", 0.9, 16, "skymap"),
        (b"\x1f\x8b broken", 0.9, 16, "skymap"),
        (file_of({"OTHER": ("D", np.ones(12))}, NSIDE=1), 0.9, 16, "skymap"),
        (file_of({"PROB": ("D", np.ones(12))}), 0.9, 16, "skymap"),
        (file_of({"PROB": ("D", np.ones(13))}, NSIDE=1), 0.9, 16, "skymap"),
        (file_of({"PROB": ("D", np.full(12, np.nan))}, NSIDE=1), 0.9, 16, "skymap"),
        (file_of({"PROB": ("D", np.zeros(12))}, NSIDE=1), 0.9, 16, "skymap"),
        (file_of({"PROB": ("D", np.ones(12))}, NSIDE=1), 0.0, 16, "credible_level"),
        (file_of({"PROB": ("D", np.ones(12))}, NSIDE=1), 1.5, 16, "credible_level"),
        (file_of({"PROB": ("D", np.ones(12))}, NSIDE=1), 0.5, 100, "nside"),
    ],
)
def test_what_is_no_map_is_refused(content: bytes, level: float, nside: int, field: str) -> None:
    with pytest.raises(BadValue) as caught:
        read_skymap(content, level, nside)
    assert caught.value.field == field


def test_a_file_that_is_not_there(tmp_path: Any) -> None:
    with pytest.raises(BadValue, match="cannot be read"):
        read_skymap(tmp_path / "absent.fits", 0.9)
