"""Cutouts as pixels: many FITS files to one array of native float32, decoded together where headers agree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.cutouts.compression import Content, unpack

__all__ = ["StampArrays", "decode", "decode_one"]

BLOCK, CARD = 2880, 80
KEYWORD = 8
FIRST = (b"SIMPLE  ", b"BITPIX  ", b"NAXIS   ", b"NAXIS1  ", b"NAXIS2  ")
END = b"END     "
# other keywords that change how pixels are stored: headers with any of these are left to astropy
STRUCTURAL = re.compile(
    rb" *(NAXIS|BSCALE|BZERO|BLANK|XTENSION|GROUPS|PCOUNT|GCOUNT|SIMPLE|BITPIX|ZIMAGE|CONTINUE|HIERARCH)", re.IGNORECASE
)
TRUE, INTEGER = re.compile(rb"= +T *(/.*)?"), re.compile(rb"= +(-?\d+) *(/.*)?")
FLOATS = -32  # BITPIX of 32-bit floats
TOGETHER = 32  # cutouts unpacked together: few enough for the CPU cache

Pixels = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class StampArrays:
    """Cutouts as pixels.

    Parameters
    ----------
    pixels
        float32 of shape (n, rows, columns); each cutout is placed at [0, 0] and padded with NaN.
    shapes
        The rows and columns of each cutout as stored, int16 of shape (n, 2); zeros where there is none.
    valid
        Whether there is a cutout, bool of shape (n,).
    faults
        The reasons for cutouts that could not be decoded, by index.
    """

    pixels: Pixels
    shapes: npt.NDArray[np.int16]
    valid: npt.NDArray[np.bool_]
    faults: dict[int, str]

    def columns(self) -> tuple[pa.FixedShapeTensorArray, pa.FixedSizeListArray]:
        """Return the pixels and the shapes as Arrow arrays, null where there is no cutout."""
        kind = pa.fixed_shape_tensor(pa.float32(), self.pixels.shape[1:])
        mask = None if self.valid.all() else pa.array(~self.valid)
        cells = pa.FixedSizeListArray.from_arrays(pa.array(self.pixels.reshape(-1)), kind.storage_type.list_size, mask=mask)
        shapes = pa.FixedSizeListArray.from_arrays(pa.array(self.shapes.reshape(-1)), 2, mask=mask)
        return pa.ExtensionArray.from_storage(kind, cells), shapes


def decode(stamps: pa.BinaryArray, shape: tuple[int, int], most: int, number: int = 0) -> StampArrays:
    """Decode cutouts: one two-dimensional image of each.

    Parameters
    ----------
    stamps
        n cutouts as stored, gzip or plain FITS; null where there is none.
    shape
        The largest rows and columns of a cutout.
    most
        The largest unpacked size of a cutout, bytes.
    number
        Which of its two-dimensional images, from 0.

    Returns
    -------
    arrays
        The arrays; the reasons in `faults` are those of `unpack`, `bad_fits`, `no_image` and `larger_than_shape`.
    """
    pixels = np.empty((len(stamps), *shape), dtype=np.float32)
    shapes = np.zeros((len(stamps), 2), dtype=np.int16)
    faults: dict[int, str] = {}
    for first in range(0, len(stamps), TOGETHER):
        some = slice(first, first + TOGETHER)
        found = _decode(stamps.slice(first, TOGETHER), pixels[some], shapes[some], most, number)
        faults |= {first + place: reason for place, reason in found.items()}
    return StampArrays(pixels, shapes, shapes[:, 0] > 0, faults)


def decode_one(content: Content) -> Pixels | str:
    """Decode one plain FITS file to native float32 in its own shape, or return the reason why there is no image."""
    ((_, images),) = _images([content], np.zeros(1, dtype=np.intp), 0)
    return images if isinstance(images, str) else images[0].astype(np.float32)


def _decode(stamps: pa.BinaryArray, pixels: Pixels, shapes: npt.NDArray[np.int16], most: int, number: int) -> dict[int, str]:
    """Decode cutouts into the given arrays; return the reasons of failures by index."""
    found, faults = unpack(stamps, most)
    held = np.array([place for place, content in enumerate(found) if content is not None], dtype=np.intp)
    for places, images in _images([content or b"" for content in found], held, number):
        if isinstance(images, str):
            faults.update(dict.fromkeys(places.tolist(), images))
            continue
        _, rows, columns = images.shape
        if rows > pixels.shape[1] or columns > pixels.shape[2]:
            faults.update(dict.fromkeys(places.tolist(), "larger_than_shape"))
            continue
        if (rows, columns) != pixels.shape[1:]:
            pixels[places] = np.nan
        pixels[places, :rows, :columns] = images
        shapes[places] = rows, columns
    pixels[shapes[:, 0] == 0] = np.nan
    return faults


def _images(contents: Sequence[Content], held: Places, number: int) -> Iterator[tuple[Places, npt.NDArray[Any] | str]]:
    """Yield images of equal shape with their indices, each index once; or a reason if they cannot be decoded."""
    odd: list[int] = held.tolist() if number else []
    for places, layout in _groups(contents, held) if not number else ():
        if layout is None:
            odd += places.tolist()
            continue
        stop = BLOCK + layout.rows * layout.columns * 4
        there = np.array([len(contents[place]) >= stop for place in places])
        odd += places[~there].tolist()
        if there.any():
            body = b"".join(contents[place][BLOCK:stop] for place in places[there])
            yield places[there], np.frombuffer(body, ">f4").reshape(-1, layout.rows, layout.columns)
    if odd:
        from flight_server.cutouts.astropy_images import odd_image

        for place in odd:
            image = odd_image(contents[place], number)
            yield np.array([place]), image if isinstance(image, str) else image[np.newaxis]


@dataclass(frozen=True, slots=True)
class _Layout:
    """The layout in the header of an ordinary cutout: number of cards, rows and columns of 32-bit floats."""

    cards: int
    rows: int
    columns: int


def _groups(contents: Sequence[Content], held: Places) -> Iterator[tuple[Places, _Layout | None]]:
    """Yield groups of cutouts with the same pixel layout in their headers; None if the layout is not ordinary."""
    long = np.array([len(contents[place]) >= BLOCK for place in held], dtype=bool)
    yield held[~long], None
    places = held[long]
    heads = b"".join(contents[place][:BLOCK] for place in places)
    cards = np.frombuffer(heads, np.uint8).reshape(-1, BLOCK // CARD, CARD)
    keywords = np.ascontiguousarray(cards[:, :, :KEYWORD]).view(np.uint64)[:, :, 0]
    structure = np.ascontiguousarray(cards[:, : len(FIRST)]).reshape(len(places), len(FIRST) * CARD)
    left = np.arange(len(places))
    while len(left):
        first = left[0]
        layout = _layout(cards[first].tobytes())
        if layout is None:
            like = left == first
        else:
            like = (keywords[left, : layout.cards] == keywords[first, : layout.cards]).all(axis=1)
            like &= (structure[left] == structure[first]).all(axis=1)
            like &= (cards[left, layout.cards - 1] == cards[first, layout.cards - 1]).all(axis=1)
        yield places[left[like]], layout
        left = left[~like]


def _layout(block: bytes) -> _Layout | None:
    """Return the layout in the first header block if it is one two-dimensional image of 32-bit floats, else None."""
    cards = [block[start : start + CARD] for start in range(0, BLOCK, CARD)]
    keywords = [card[:KEYWORD] for card in cards]
    if tuple(keywords[: len(FIRST)]) != FIRST or END not in keywords:
        return None
    last = keywords.index(END)
    simple, *values = (card[KEYWORD:] for card in cards[: len(FIRST)])
    numbers = [INTEGER.fullmatch(value) for value in values]
    if cards[last].rstrip(b" ") != END.rstrip() or not TRUE.fullmatch(simple) or not all(numbers):
        return None
    if any(STRUCTURAL.match(keyword) for keyword in keywords[len(FIRST) : last]):
        return None
    bits, axes, columns, rows = (int(number[1]) for number in numbers if number)
    if (bits, axes) != (FLOATS, 2) or rows < 1 or columns < 1:
        return None
    return _Layout(last + 1, rows, columns)
