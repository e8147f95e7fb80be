"""Pixels of cones and of sky maps, against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy_healpix import HEALPix, boundaries_lonlat
from depth import more_examples
from hypothesis import given
from hypothesis import strategies as st

from flight_server.execution.sky_pixels import PixelRanges, cone_pixels, pixels_of
from flight_server.protocol.query import SkyMap

NSIDE = 128
POINTS = 40

near_pole = st.floats(0, 3).map(lambda away: 90 - away)
declinations = st.one_of(
    st.floats(-90, 90), near_pole, near_pole.map(lambda dec: -dec), st.sampled_from([-90.0, 90.0, 0.0, 41.8103149, -41.8103149])
)
ascensions = st.one_of(st.floats(0, 360), st.sampled_from([0.0, 1e-9, 359.999999999, 360.0, 45.0, 90.0]))
radii = st.one_of(st.floats(0, 5), st.floats(-5, 0.7).map(lambda power: 10**power), st.just(0.0))


def points_inside(ra: float, dec: float, radius: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points of a cone, a third of them just inside of its edge."""
    random = np.random.default_rng(seed)
    away = radius * np.sqrt(random.uniform(0, 1, POINTS))
    away[: POINTS // 3] = radius * (1 - 1e-9)
    found = SkyCoord(ra, dec, unit="deg").directional_offset_by(random.uniform(0, 360, POINTS) * units.deg, away * units.deg)
    return found.ra.deg, found.dec.deg


@more_examples(5)  # of 40 points each: 20,000 positions with --all
@given(ascensions, declinations, radii, st.integers(0, 2**32))
def test_no_pixel_of_a_cone_is_missing(ra: float, dec: float, radius: float, seed: int) -> None:
    pixels = cone_pixels(ra, dec, radius, NSIDE)
    assert (np.diff(pixels) > 0).all()
    lon, lat = points_inside(ra, dec, radius, seed)
    missing = ~np.isin(pixels_of(lon, lat, NSIDE), pixels)
    assert not missing.any(), (lon[missing], lat[missing])


@pytest.mark.deep(after=1)
@pytest.mark.parametrize("nside", [1, 2, 16, NSIDE, 1024])
def test_a_cone_that_reaches_over_an_edge_has_more_than_one_pixel(nside: int) -> None:
    random = np.random.default_rng(8)
    polar = random.integers(0, min(2000, 12 * nside**2), 500)  # the first rings, where pixels are narrow
    pixels = np.concatenate([polar, 12 * nside**2 - 1 - polar, random.integers(0, 12 * nside**2, 500)])
    x, y = random.uniform(0, 1, (2, len(pixels)))
    ra, dec = HEALPix(nside, order="ring").healpix_to_lonlat(pixels, x, y)
    edges = SkyCoord(*boundaries_lonlat(pixels, 64, nside, order="ring"))
    nearest = SkyCoord(ra, dec)[:, None].separation(edges).min(axis=1).deg
    for place in range(len(pixels)):
        over = float(nearest[place]) * 1.02
        assert len(cone_pixels(float(ra.deg[place]), float(dec.deg[place]), over, nside)) > 1


@pytest.mark.parametrize(("radius", "most"), [(5 / 3600, 6), (1 / 60, 6), (1, 40), (5, 700)])
def test_few_pixels_too_many(radius: float, most: int) -> None:
    random = np.random.default_rng(5)
    for _ in range(20):
        dec = float(np.degrees(np.arcsin(random.uniform(-1, 1))))
        assert len(cone_pixels(float(random.uniform(0, 360)), dec, radius, NSIDE)) <= most


def test_pixels_are_those_of_the_healpix_package() -> None:
    random = np.random.default_rng(6)
    ra, dec = random.uniform(0, 360, 1000), np.degrees(np.arcsin(random.uniform(-1, 1, 1000)))
    expected = HEALPix(NSIDE, order="ring").lonlat_to_healpix(ra * units.deg, dec * units.deg)
    assert pixels_of(ra, dec, NSIDE).tolist() == expected.tolist()


@pytest.mark.parametrize(("nside", "to"), [(1, 8), (8, 8), (64, 8), (4, 32)])
def test_a_map_at_another_nside_covers_the_same_sky(nside: int, to: int) -> None:
    random = np.random.default_rng(nside)
    ra, dec = random.uniform(0, 360, 20_000), np.degrees(np.arcsin(random.uniform(-1, 1, 20_000)))
    ranges = PixelRanges.of(SkyMap(nside, ((3, 3), (5, 9), (7, 11))))
    found = ranges.overlapping(to, lambda: None)
    assert (np.diff(found) > 0).all()
    inside = ranges.contain(pixels_of(ra, dec, nside))
    assert np.isin(pixels_of(ra, dec, to)[inside], found).all()
    if to >= nside:
        assert not np.isin(pixels_of(ra, dec, to)[~inside], found).any()


@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 8]), st.data())
def test_the_pixels_that_overlap_are_those_of_every_single_one(nside: int, to: int, data: st.DataObject) -> None:
    pixel = st.integers(0, 12 * nside**2 - 1)
    pairs = data.draw(st.lists(st.tuples(pixel, pixel).map(lambda pair: (min(pair), max(pair))), min_size=1, max_size=6))
    each = {one for first, last in pairs for one in range(first, last + 1)}
    own, other = HEALPix(nside, order="ring"), HEALPix(to, order="ring")
    parts = np.arange(12 * 8**2)  # nested pixels of nside 8
    mine = own.nested_to_ring(parts // (8 // nside) ** 2)
    theirs = other.nested_to_ring(parts // (8 // to) ** 2)
    expected = sorted(set(theirs[np.isin(mine, list(each))].tolist()))
    assert PixelRanges.of(SkyMap(nside, tuple(pairs))).overlapping(to, lambda: None).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), min_size=1, max_size=8), st.lists(st.integers(0, 60)))
def test_ranges_hold_what_lies_between_first_and_last(found: list[tuple[int, int]], pixels: list[int]) -> None:
    given_ = tuple((first, first + more) for first, more in found)
    region = SkyMap(4, given_)
    expected = [any(first <= pixel <= last for first, last in given_) for pixel in pixels]
    assert PixelRanges.of(region).contain(np.array(pixels, dtype=np.int64)).tolist() == expected
    assert SkyMap(4, tuple(reversed(given_))) == region
    assert all(last + 1 < first for (_, last), (first, _) in itertools.pairwise(region.ranges))
