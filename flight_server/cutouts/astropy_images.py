"""Stamps whose FITS is not the ordinary one, read by astropy: scaled, integers, an image in an extension.

It is apart so that astropy is imported only once such a stamp comes.
"""

from __future__ import annotations

import io
import math
import threading
import warnings

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from flight_server.cutouts.compression import Content

__all__ = ["odd_image"]

IMAGES = (fits.PrimaryHDU, fits.ImageHDU)

_alone = threading.Lock()


def odd_image(content: Content) -> npt.NDArray[np.float32] | str:
    """Read the first image of two dimensions.

    Parameters
    ----------
    content
        A FITS file, perhaps broken.

    Returns
    -------
    image
        Native float32 of shape (rows, columns), scaled as the header says; or the reason why there is none:
        `bad_fits` or `no_image`.
    """
    # what astropy warns of is told by the reason; the filters are the whole process's, so one thread at a time
    with _alone, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _read(content)
        except Exception:  # noqa: BLE001  (a broken header shows in astropy as errors of many classes)
            return "bad_fits"


def _read(content: Content) -> npt.NDArray[np.float32] | str:
    # tables of compressed tiles could unpack to anything, so they are no images here
    opened = fits.open(
        io.BytesIO(content), ignore_missing_simple=True, disable_image_compression=True, memmap=False, lazy_load_hdus=True
    )
    with opened as hdus:
        for hdu in hdus:
            if type(hdu) not in IMAGES or len(hdu.shape) != 2 or not all(hdu.shape):  # noqa: PLR2004  (dimensions)
                continue
            # before astropy takes memory for it
            if math.prod(hdu.shape) * abs(hdu.header["BITPIX"]) // 8 > len(content):
                return "bad_fits"
            with np.errstate(over="ignore"):  # beyond float32 is infinite there
                return np.array(hdu.data, dtype=np.float32)
    return "no_image"
