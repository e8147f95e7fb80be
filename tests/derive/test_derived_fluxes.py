import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_server.derive.fluxes import flux


@given(st.lists(st.tuples(st.floats(10, 25), st.floats(0, 1), st.sampled_from("t1f0")), min_size=1))
def test_fluxes_are_those_of_ab_magnitudes_with_the_sign_of_the_difference(points):
    magnitude, error, sign = zip(*points, strict=True)
    values, errors = flux(np.array(magnitude), np.array(error), pa.array(sign))
    signs = np.array([1 if one in "t1" else -1 for one in sign])
    # 3631 Jy and the rounded zero point differ by 6e-5
    np.testing.assert_allclose(values, (magnitude * u.ABmag).to_value(u.nJy) * signs, rtol=1e-4)
    np.testing.assert_allclose(values, signs * 10 ** (9 - (np.array(magnitude) - 8.9) / 2.5), rtol=1e-12)
    np.testing.assert_allclose(errors, np.abs(values) * np.log(10) / 2.5 * np.array(error), rtol=1e-12)
    assert (errors >= 0).all()


@pytest.mark.parametrize(
    ("magnitude", "error", "sign", "known"),
    [
        (np.nan, 0.1, "t", (False, False)),
        (20.0, np.nan, "t", (True, False)),
        (20.0, 0.1, None, (False, False)),
        (20.0, 0.1, "0", (True, True)),
    ],
)
def test_what_is_missing_makes_no_flux(magnitude, error, sign, known):
    values, errors = flux(np.array([magnitude]), np.array([error]), pa.array([sign], pa.string()))
    assert (np.isfinite(values[0]), np.isfinite(errors[0])) == known


@pytest.mark.parametrize("sign", ["", "T", "true", "-1"])
def test_an_unknown_sign_gives_no_flux_to_its_row(sign):
    values, errors = flux(np.array([20.0, 20.0]), np.array([0.1, 0.1]), pa.array(["t", sign]))
    assert np.isfinite(values).tolist() == np.isfinite(errors).tolist() == [True, False]
