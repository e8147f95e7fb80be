"""Fluxes from difference magnitudes, and magnitudes from fluxes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from flight_server.derive.inputs import Numbers

__all__ = ["flux", "magnitude"]

# 1 nJy in AB magnitudes; AB has its zero at 3631 Jy, in the rounded form m = 8.90 - 2.5 log10(f/Jy) that Rubin's
# photometry page uses too (docs of the LSST data, "Photometry")
ZERO_POINT = 31.4
PER_MAGNITUDE = np.log(10.0) / 2.5
SIGNS = {"t": 1.0, "1": 1.0, "f": -1.0, "0": -1.0}


def flux(magnitude: Numbers, error: Numbers, sign: pa.Array) -> tuple[Numbers, Numbers]:
    """Return the flux in the difference image and its 1-sigma error, nJy; NaN where magnitude, error or sign is missing.

    ZTF magnitudes are tied to Pan-STARRS1 and so to AB (Masci et al. 2019, PASP 131, 018003); colour terms are not
    applied. The error is of first order: flux times 0.921 times the error of the magnitude.

    Parameters
    ----------
    magnitude, error
        Of the difference, mag.
    sign
        As `isdiffpos`: t or 1 where the source is brighter than in the reference, f or 0 where it is fainter; any other text
        is no sign.

    Examples
    --------
    >>> values, errors = flux(np.array([18.9, 18.9]), np.array([0.1, 0.1]), pa.array(["t", "f"]))
    >>> values.round(3), errors.round(3)
    (array([ 100000., -100000.]), array([9210.34, 9210.34]))
    """
    encoded = sign.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    signs = np.array([*(SIGNS.get(value, np.nan) for value in values), np.nan])
    size = 10.0 ** ((ZERO_POINT - magnitude) / 2.5)
    codes = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    found = signs[codes] * size
    return found, np.abs(found) * PER_MAGNITUDE * error


def magnitude(flux: Numbers, error: Numbers) -> tuple[Numbers, Numbers]:
    """Return the AB magnitude of a flux in nJy and its 1-sigma error, mag; NaN where the flux is missing or not positive.

    The error is of first order: 1.086 times the error of the flux, over the flux.

    Examples
    --------
    >>> values, errors = magnitude(np.array([100000.0, -5.0]), np.array([9210.34, 1.0]))
    >>> values.round(3), errors.round(3)
    (array([18.9,  nan]), array([0.1, nan]))
    """
    positive = np.where(flux > 0.0, flux, np.nan)
    return ZERO_POINT - 2.5 * np.log10(positive), np.abs(error) / (positive * PER_MAGNITUDE)
