"""Cutouts in unusual FITS files, read by astropy: scaled or integer pixels, an image in an extension.

A separate module, so that astropy is imported only when such a cutout is read.
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


def odd_image(content: Content, number: int = 0) -> npt.NDArray[np.float32] | str:
    """Read a two-dimensional image of a FITS file.

    Parameters
    ----------
    content
        A FITS file, possibly broken.
    number
        Which of its images, from 0.

    Returns
    -------
    image
        Native float32 of shape (rows, columns), scaled according to the header; or the reason why there is none:
        `bad_fits` or `no_image`.
    """
    # the reason covers astropy's warnings; warning filters are global to the process, so one thread at a time
    with _alone, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _read(content, number)
        except Exception:  # noqa: BLE001  (astropy raises many classes on a broken header)
            return "bad_fits"


def _read(content: Content, number: int) -> npt.NDArray[np.float32] | str:
    # tables of compressed tiles can unpack to any size, so they do not count as images
    opened = fits.open(
        io.BytesIO(content), ignore_missing_simple=True, disable_image_compression=True, memmap=False, lazy_load_hdus=True
    )
    with opened as hdus:
        for hdu in hdus:
            if type(hdu) not in IMAGES or len(hdu.shape) != 2 or not all(hdu.shape):  # noqa: PLR2004  (dimensions)
                continue
            if number:
                number -= 1
                continue
            # check before astropy allocates memory
            if math.prod(hdu.shape) * abs(hdu.header["BITPIX"]) // 8 > len(content):
                return "bad_fits"
            with np.errstate(over="ignore"):  # values too large for float32 become infinite
                return np.array(hdu.data, dtype=np.float32)
    return "no_image"
