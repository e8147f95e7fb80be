import gzip
import io
from collections import Counter
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from flight_server.cutouts.compression import unpacked

packed = partial(gzip.compress, mtime=0)  # the same bytes at any moment, as all processes of a run must collect the same tests
FITS = b"SIMPLE  =                    T" + bytes(50)


def one(content, most=1000):
    stamps, faults = unpacked(pa.array([content], pa.binary()), most)
    return stamps[0].as_py(), dict(Counter(faults.values()))


@pytest.mark.parametrize(
    ("stamp", "content", "reasons"),
    [
        (None, None, {}),
        (FITS, FITS, {}),
        (packed(FITS), FITS, {}),
        (b"", None, {"not_fits": 1}),
        (b"SIMPL", None, {"not_fits": 1}),
        (b"\x89PNG\r\n", None, {"not_fits": 1}),
        (packed(FITS)[:-1], None, {"bad_gzip": 1}),
        (packed(FITS)[:20], None, {"bad_gzip": 1}),
        (b"\x1f\x8b", None, {"bad_gzip": 1}),
        (b"\x1f\x8bnonsense", None, {"bad_gzip": 1}),
        (packed(FITS)[:-8] + bytes(8), None, {"bad_gzip": 1}),
        (packed(FITS + bytes(10_000_000)), None, {"too_large": 1}),
        (packed(FITS + bytes(1000 - len(FITS))), FITS + bytes(1000 - len(FITS)), {}),
        (packed(FITS + bytes(1001 - len(FITS))), None, {"too_large": 1}),
    ],
    ids=[
        "null",
        "plain",
        "gzip",
        "empty",
        "short",
        "png",
        "cut",
        "cut early",
        "magic",
        "broken",
        "checksum",
        "bomb",
        "most",
        "more",
    ],
)
def test_a_stamp_is_unpacked_or_counted(stamp, content, reasons):
    assert one(stamp) == (content, reasons)


def test_gzip_of_what_is_no_fits_is_null_and_counted():
    assert one(packed(b"<html>")) == (None, {"not_fits": 1})


def test_stamps_keep_their_places_and_reasons_add_up():
    good, bad = packed(FITS), b"\x1f\x8b\x08"
    stamps, faults = unpacked(pa.array([b"skipped", bad, good, None, b"x", FITS, bad], pa.binary()).slice(1), 1000)
    assert stamps.to_pylist() == [None, FITS, None, None, FITS, None]
    assert (stamps.type, faults) == (pa.binary(), {0: "bad_gzip", 3: "not_fits", 5: "bad_gzip"})


def test_no_stamps_are_no_stamps():
    stamps, faults = unpacked(pa.array([], pa.binary()), 1000)
    assert (len(stamps), stamps.type, faults) == (0, pa.binary(), {})


def test_an_image_comes_out_as_it_went_in():
    image = np.arange(63 * 63, dtype=">f4").reshape(63, 63)
    written = io.BytesIO()
    fits.PrimaryHDU(image).writeto(written)
    content, reasons = one(packed(written.getvalue()), 1_000_000)
    assert not reasons
    with fits.open(io.BytesIO(content)) as hdus:
        np.testing.assert_array_equal(hdus[0].data, image)


@given(st.binary() | st.binary().map(lambda tail: packed(FITS)[:10] + tail))
def test_any_bytes_are_a_stamp_or_counted(stamp):
    content, reasons = one(stamp)
    assert (content is None) == (sum(reasons.values()) == 1)
    assert set(reasons) <= {"bad_gzip", "not_fits", "too_large"}
