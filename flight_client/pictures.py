"""Cutouts as pictures: grey levels, a PNG file, and characters on a terminal."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from flight_server.protocol.errors import NotSupported

__all__ = ["drawn", "levels", "write_png"]

DARK, BRIGHT = 1.0, 99.5  # percentiles of the pixels that become black and white
PNG_PIXEL = 8  # the side of the square that shows one pixel of a cutout in the file
RAMP = " .:-=+*#%@"
NO_PIXEL, NO_COLOUR = "/", (48, 48, 96)
HALF, RESET = "▀", "\x1b[0m"

Image = npt.NDArray[np.floating[Any]]


def levels(image: Image) -> Image:
    """Return grey levels from 0 to 1, between the 1st and the 99.5th percentile; NaN stays NaN.

    >>> levels(np.array([[0.0, 50.0, 100.0, np.nan]])).round(2).tolist()
    [[0.0, 0.5, 1.0, nan]]
    """
    finite = image[np.isfinite(image)].astype(np.float64)
    if not len(finite):
        return np.full(image.shape, np.nan)
    dark, bright = np.percentile(finite, (DARK, BRIGHT))
    made: Image = np.clip((image - dark) / ((bright - dark) or 1.0), 0.0, 1.0)
    return made


def write_png(sink: BinaryIO, image: Image) -> None:
    """Write a cutout as PNG, its first row at the bottom as in FITS; NaN is transparent.

    Raises
    ------
    NotSupported
        matplotlib is not installed.
    """
    try:
        from matplotlib.image import imsave
    except ImportError:
        raise NotSupported("PNG needs matplotlib: pip install 'alertflight[plot]'", field="output", value=".png") from None
    large = levels(image).repeat(PNG_PIXEL, axis=0).repeat(PNG_PIXEL, axis=1)
    imsave(sink, large, vmin=0, vmax=1, cmap="gray", origin="lower", format="png")


def drawn(image: Image, width: int, *, coloured: bool) -> str:
    """Draw a cutout with characters, two rows of pixels per line, its first row at the bottom.

    Parameters
    ----------
    image
        Pixels of shape (rows, columns).
    width
        The characters per line; a wider cutout is drawn with larger pixels.
    coloured
        Grey levels as 24-bit colours; otherwise as characters of varying density.

    Returns
    -------
    text
        The lines, without a final line break.

    >>> print(drawn(np.arange(16.0).reshape(4, 4), 80, coloured=False))
    *#%%
    ..:-
    """
    shown = _reduced(levels(image), -(-image.shape[1] // max(width, 1)))[::-1]
    if len(shown) % 2:
        shown = np.vstack([shown, np.full(shown.shape[1], np.nan)])
    if not coloured:
        return "\n".join("".join(map(_letter, line)).rstrip() for line in _mean(np.stack([shown[::2], shown[1::2]]), axis=0))
    pairs = zip(shown[::2].tolist(), shown[1::2].tolist(), strict=True)
    return "\n".join("".join(map(_half_blocks, *pair)) + RESET for pair in pairs)


def _reduced(image: Image, step: int) -> Image:
    """Return the means of squares of `step` x `step` pixels."""
    if step == 1:
        return image
    rows, columns = (-(-side // step) * step for side in image.shape)
    whole = np.full((rows, columns), np.nan)
    whole[: image.shape[0], : image.shape[1]] = image
    return _mean(whole.reshape(rows // step, step, columns // step, step), axis=(1, 3))


def _mean(values: Image, axis: int | tuple[int, ...]) -> Image:
    """Return means that ignore NaN; NaN if all values are."""
    there = np.isfinite(values)
    count = there.sum(axis=axis)
    total = np.where(there, values, 0.0).sum(axis=axis)
    return np.where(count, total / np.maximum(count, 1), np.nan)


def _letter(level: float) -> str:
    return NO_PIXEL if np.isnan(level) else RAMP[min(int(level * len(RAMP)), len(RAMP) - 1)]


def _half_blocks(upper: float, lower: float) -> str:
    return f"\x1b[38;2;{_colour(upper)};48;2;{_colour(lower)}m{HALF}"


def _colour(level: float) -> str:
    red, green, blue = NO_COLOUR if np.isnan(level) else (round(level * 255),) * 3
    return f"{red};{green};{blue}"
