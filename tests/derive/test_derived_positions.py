import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord, angular_separation, get_constellation
from hypothesis import given
from hypothesis import strategies as st

from flight_server.derive.constellations import constellation
from flight_server.derive.separations import separation
from flight_server.protocol.errors import BadValue

RANDOM = np.random.default_rng(5)
RA, DEC = RANDOM.uniform(0, 360, 40_000), np.degrees(np.arcsin(RANDOM.uniform(-1, 1, 40_000)))
POLES = [(ra, sign * (90 - off)) for ra in range(0, 360, 15) for off in (0, 1e-9, 1e-3, 0.5, 1.0) for sign in (1, -1)]
WRAP = [(ra, dec) for ra in (0.0, 1e-12, 1e-6, 359.999999, 360.0, -1e-9, -10.0, 370.0) for dec in np.linspace(-89, 89, 60)]
DEGREES = st.floats(-720, 720), st.floats(-90, 90)


def of_astropy(ra, dec):
    return get_constellation(SkyCoord(ra, dec, unit="deg")).tolist()


@pytest.mark.parametrize(
    ("ra", "dec"),
    [(RA, DEC), tuple(np.array(POLES).T), tuple(np.array(WRAP).T)],
    ids=["anywhere", "poles", "wrap"],
)
def test_constellations_are_those_of_astropy(ra, dec):
    assert constellation(ra, dec).to_pylist() == of_astropy(ra, dec)


def test_constellations_beside_all_boundaries_are_those_of_astropy():
    # boundaries follow hours and degrees of 1875: a fine walk along and across crosses hundreds of them
    ra, dec = np.meshgrid(np.linspace(0, 360, 400, endpoint=False), np.linspace(-89.9, 89.9, 200))
    found = constellation(ra.ravel(), dec.ravel())
    assert found.to_pylist() == of_astropy(ra.ravel(), dec.ravel())
    assert len(found.unique()) == 88
    assert "Boötes" in found.unique().to_pylist()


def test_places_that_are_not_known_lie_in_no_constellation():
    nowhere = [np.nan, np.inf, -np.inf]
    assert constellation(np.array([*nowhere, 1.0]), np.array([1.0, 1.0, 1.0, np.nan])).to_pylist() == [None] * 4
    assert constellation(np.array([]), np.array([])).type == pa.string()


@given(st.lists(st.tuples(*DEGREES), min_size=1), st.tuples(*DEGREES))
def test_separations_are_those_of_astropy(places, centre):
    ra, dec = np.array(places).T
    expected = angular_separation(ra * u.deg, dec * u.deg, *(centre * u.deg)).to_value(u.deg)
    np.testing.assert_array_equal(separation(ra, dec, centre), expected)


def test_separations_of_alerts_are_those_of_astropys_coordinates():
    expected = SkyCoord(RA, DEC, unit="deg").separation(SkyCoord(320.3837838, 13.5583184, unit="deg")).degree
    np.testing.assert_array_equal(separation(RA, DEC, (320.3837838, 13.5583184)), expected)


def test_a_separation_across_the_wrap_and_over_the_pole():
    found = separation(np.array([359.9, 0.1, 10.0, 190.0]), np.array([0.0, 0.0, 89.0, 89.0]), (0.1, 0.0))
    np.testing.assert_allclose(found[:2], [0.2, 0.0], atol=1e-13)
    assert separation(np.array([190.0]), np.array([89.0]), (10.0, 89.0))[0] == pytest.approx(2.0, rel=1e-12)
    assert separation(np.array([np.nan, np.inf]), np.array([1.0, 1.0]), (0.0, 0.0)).tolist() == pytest.approx(
        [np.nan] * 2, nan_ok=True
    )


@pytest.mark.parametrize("dec", [90.00000001, -91.0, np.inf])
def test_a_place_beyond_the_pole_has_no_answer_and_is_refused_as_a_centre(dec):
    assert constellation(np.array([1.0, 2.0]), np.array([1.0, dec])).is_null().to_pylist() == [False, True]
    assert np.isnan(separation(np.array([1.0, 2.0]), np.array([1.0, dec]), (0.0, 0.0))).tolist() == [False, True]
    with pytest.raises(BadValue) as caught:
        separation(np.array([1.0]), np.array([1.0]), (0.0, dec))
    assert caught.value.value == str(float(dec))
