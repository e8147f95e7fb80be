import gzip
import io
import subprocess
import sys
import warnings
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from stamp_files import SWEEPS, image_of, real_stamps

from flight_server.cutouts import astropy_images
from flight_server.cutouts.arrays import TOGETHER, decode

packed = partial(gzip.compress, mtime=0)  # the same bytes at any moment, as all processes of a run must collect the same tests
MOST = 8_388_608
SHAPES = {"ztf": (63, 63), "rubin": (96, 96)}
IMAGE = np.arange(12, dtype=">f4").reshape(3, 4)


def decoded(*stamps, shape=(63, 63), most=MOST):
    return decode(pa.array(stamps, pa.binary()), shape, most)


def written(*hdus, cards=()):
    for key, value in cards:
        hdus[0].header[key] = value
    file = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(file, output_verify="ignore")
    return file.getvalue()


def plain(image=IMAGE):
    return written(fits.PrimaryHDU(image))


def header(*cards):
    return b"".join(card.encode().ljust(80) for card in [*cards, "END"]).ljust(2880)


def check(arrays, place, wanted):
    rows, columns = wanted.shape
    assert arrays.valid[place]
    assert arrays.shapes[place].tolist() == [rows, columns]
    found = arrays.pixels[place]
    assert found.dtype == np.dtype("<f4")
    with np.errstate(all="ignore"):
        assert found[:rows, :columns].tobytes() == wanted.astype("<f4").tobytes()
    assert np.isnan(found[rows:]).all()
    assert np.isnan(found[:, columns:]).all()


@pytest.mark.parametrize("survey", SWEEPS)
@pytest.mark.parametrize("as_stored", [True, False], ids=["as stored", "the other way"])
def test_every_real_stamp_has_the_pixels_of_astropy(survey, as_stored, monkeypatch):
    def none_is_odd(content):
        raise AssertionError(content[:800])

    monkeypatch.setattr(astropy_images, "odd_image", none_is_odd)
    stamps = real_stamps(survey)
    assert stamps
    other_way = [gzip.decompress(stamp) if stamp[:2] == b"\x1f\x8b" else packed(stamp, 1) for stamp in stamps]
    arrays = decoded(*(stamps if as_stored else other_way), shape=SHAPES[survey])
    assert not arrays.faults
    assert arrays.pixels.shape == (len(stamps), *SHAPES[survey])
    for place, stamp in enumerate(stamps):
        check(arrays, place, image_of(stamp))


@pytest.mark.parametrize("survey", SWEEPS)
def test_astropy_alone_reads_the_same(survey):
    stamps = real_stamps(survey)
    for stamp in stamps[:: max(1, len(stamps) // 50)]:
        content = gzip.decompress(stamp) if stamp[:2] == b"\x1f\x8b" else stamp
        assert astropy_images.odd_image(content).tobytes() == image_of(stamp).astype("<f4").tobytes()


CARDS = ["SIMPLE  =                    T", "BITPIX  =                  -32", "NAXIS   =                    2"]
CARDS += ["NAXIS1  =                    4", "NAXIS2  =                    3"]
PIXELS = IMAGE.tobytes().ljust(2880, b"\0")


@pytest.mark.parametrize(
    "stamp",
    [
        plain(),
        plain() + b"something behind the file" * 200,
        header(*CARDS) + PIXELS,
        header(*CARDS) + IMAGE.tobytes(),
        header(CARDS[0].replace("                    T", "  T"), *CARDS[1:]) + PIXELS,
        header(CARDS[0] + " / it is", *CARDS[1:]) + PIXELS,
        header(*CARDS, "COMMENT NAXIS1  = 7", "HISTORY BSCALE  = 2", "SIZE    = 3") + PIXELS,
        header(*CARDS, *["COMMENT much"] * 60).ljust(5760) + PIXELS,
        header(*CARDS, "BSCALE  =                  1.0", "BZERO   =                  0.0") + PIXELS,
        header(*CARDS, "EXTEND  =                    T", "PCOUNT  =                    0") + PIXELS,
        header(CARDS[0], CARDS[1], CARDS[2], CARDS[3].replace(" 4", "+4"), CARDS[4]) + PIXELS,
        written(fits.PrimaryHDU(), fits.ImageHDU(IMAGE)),
        written(fits.PrimaryHDU(np.zeros((2, 3, 4))), fits.ImageHDU(np.zeros(5)), fits.ImageHDU(IMAGE), fits.ImageHDU(IMAGE + 1)),
        written(fits.PrimaryHDU(), fits.BinTableHDU(np.zeros(3, [("a", "i4")])), fits.ImageHDU(IMAGE)),
        *(written(fits.PrimaryHDU(IMAGE.astype(kind))) for kind in ("u1", ">i2", ">i4", ">i8", ">f8", ">u2", ">u4")),
    ],
)
def test_the_ways_to_write_one_image_come_to_the_same(stamp):
    for form in (stamp, packed(stamp)):
        arrays = decoded(form, shape=(5, 4))
        assert not arrays.faults
        check(arrays, 0, IMAGE)


def test_blank_is_nan_and_scales_are_applied():
    stamp = written(
        fits.PrimaryHDU(np.array([[1, -99], [3, 4]], ">i2")), cards=[("BLANK", -99), ("BSCALE", 0.5), ("BZERO", 10.0)]
    )
    check(decoded(stamp, shape=(2, 2)), 0, np.array([[10.5, np.nan], [11.5, 12]]))


@pytest.mark.parametrize(
    "card",
    [
        "BSCALE  = 2.0",
        "bscale  = 2.0",
        " BZERO  = 2.0",
        "HIERARCH BSCALE = 2.0",
        "HIERARCH BZERO = 2.0",
        "BLANK   = 5",
        "BSCALE = 2.0",
        "COMMENT BSCALE  = 2.0",
        "ABSCALE = 2.0",
        "        BSCALE  = 2.0",
        "BSCALE    2.0",
        "BZERO   = 'two'",
        "BZERO   =",
        "END     of what",
    ],
)
def test_cards_mean_what_they_mean_to_astropy(card):
    stamp = header(*CARDS, card) + PIXELS
    arrays = decoded(plain(), stamp, stamp, plain(), shape=(3, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(stamp)) as hdus:
            try:
                wanted = np.array(hdus[0].data, dtype="f4")
            except TypeError:  # a scale that is no number
                assert arrays.faults == {1: "bad_fits", 2: "bad_fits"}
                return
    for place in (1, 2):
        check(arrays, place, wanted)


IMAGES = st.tuples(
    st.sampled_from(["u1", ">i2", ">i4", ">i8", ">f4", ">f8"]), st.tuples(st.integers(1, 9), st.integers(1, 9))
).flatmap(lambda of: hnp.arrays(*of))
SCALES = st.none() | st.floats(-1e6, 1e6).filter(bool)


@given(st.lists(st.tuples(IMAGES, SCALES, SCALES, st.none() | st.integers(-100, 100), st.booleans(), st.booleans()), max_size=8))
def test_any_images_have_the_pixels_of_astropy(cases):
    stamps = []
    for image, bscale, bzero, blank, second, is_packed in cases:
        cards = {"BSCALE": bscale, "BZERO": bzero, "BLANK": blank if image.dtype.kind != "f" else None}
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(image)] if second else [fits.PrimaryHDU(image)]
        # the header is set behind astropy's back, so that the pixels stay as they are
        content = written(*hdus)
        given_cards = b"".join(fits.Card(key, value).image.encode() for key, value in cards.items() if value is not None)
        place = content.index(b"END" + b" " * 77, 2880 if second else 0)
        content = content[:place] + given_cards + content[place : place + 80] + content[place + 80 + len(given_cards) :]
        stamps.append(packed(content) if is_packed else content)
    arrays = decoded(*stamps, shape=(9, 9))
    assert not arrays.faults
    for place, (stamp, case) in enumerate(zip(stamps, cases, strict=True)):
        content = gzip.decompress(stamp) if stamp[:2] == b"\x1f\x8b" else stamp
        with fits.open(io.BytesIO(content)) as hdus, np.errstate(all="ignore"):
            check(arrays, place, np.array(hdus[int(case[4])].data))


TWO = header(*(card.replace("NAXIS1  =                    4", "NAXIS1  =           2147483648") for card in CARDS))


@pytest.mark.parametrize(
    ("stamp", "reason"),
    [
        (b"", "not_fits"),
        (b"SIMPLE", "bad_fits"),
        (b"SIMPLE  =                    T", "bad_fits"),
        (b"SIMPLE  =                    T".ljust(2880), "bad_fits"),
        (b"XTENSION= 'IMAGE   '".ljust(2880), "not_fits"),
        (packed(b"<html>"), "not_fits"),
        (packed(plain())[:-9], "bad_gzip"),
        (packed(plain())[:-8] + bytes(8), "bad_gzip"),
        (plain()[:2880], "bad_fits"),
        (plain()[:2900], "bad_fits"),
        (plain()[:1000], "bad_fits"),
        (header(*CARDS, "BSCALE  =                  2.0") + PIXELS[:40], "bad_fits"),
        (TWO, "bad_fits"),
        (TWO + PIXELS, "bad_fits"),
        (header(CARDS[0], CARDS[1], CARDS[2], TWO[240:320].decode(), TWO[240:320].decode().replace("1  ", "2  ")), "bad_fits"),
        (header(*(card.replace("    2", "    0") for card in CARDS[:3])), "no_image"),
        (header(*CARDS[:3], CARDS[3].replace("    4", "    0"), CARDS[4]), "no_image"),
        (written(fits.PrimaryHDU(np.zeros((2, 3, 4)))), "no_image"),
        (written(fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((50, 50), "f4"))), "no_image"),
        (plain(np.zeros((64, 63), ">f4")), "larger_than_shape"),
        (plain(np.zeros((1, 64), ">f4")), "larger_than_shape"),
        (plain(np.zeros((64, 1), ">f8")), "larger_than_shape"),
        (plain(np.zeros((700, 700), ">f4")), "larger_than_shape"),
        (packed(plain(np.zeros((700, 700), ">f4"))), "too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",  # astropy compresses with chance in it
)
def test_what_cannot_be_decoded_has_a_reason(stamp, reason):
    arrays = decoded(None, stamp, plain(), most=1_000_000)
    assert arrays.faults == {1: reason}
    assert arrays.valid.tolist() == [False, False, True]
    assert np.isnan(arrays.pixels[:2]).all()
    assert arrays.shapes.tolist() == [[0, 0], [0, 0], [3, 4]]
    check(arrays, 2, IMAGE)


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.binary(max_size=40),
            st.builds(
                lambda cards, tail: header(*cards) + tail, st.lists(st.text("= 'T-/1NAXISB", max_size=80)), st.binary(max_size=90)
            ),
            st.builds(
                lambda place, byte, is_packed: (packed if is_packed else bytes)(
                    plain()[:place] + bytes([byte]) + plain()[place + 1 :]
                ),
                st.integers(0, 560),
                st.integers(0, 255),
                st.booleans(),
            ),
            st.builds(lambda stop: packed(plain())[:stop], st.integers(0, 150)),
            st.builds(lambda stop: plain()[:stop], st.integers(0, 5760)),
        ),
        max_size=2 * TOGETHER,
    )
)
def test_broken_stamps_are_counted_and_harm_no_other(stamps):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arrays = decoded(*[part for stamp in stamps for part in (stamp, plain())], shape=(8, 8))
    assert arrays.valid[1::2].all()
    assert (arrays.pixels[1::2, :3, :4] == IMAGE).all()
    reasons = {"bad_gzip", "not_fits", "bad_fits", "no_image", "larger_than_shape", "too_large"}
    assert set(arrays.faults.values()) <= reasons
    for place, stamp in enumerate(stamps):
        assert arrays.valid[2 * place] == (stamp is not None and 2 * place not in arrays.faults)


BOMB = """
import gzip, resource, sys
import pyarrow as pa
from flight_server.cutouts.arrays import decode
from flight_server.cutouts import astropy_images  # astropy's own memory is not the matter
stamps = pa.array([sys.stdin.buffer.read()], pa.binary())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = decode(stamps, (63, 63), 1_000_000).faults
print(*found.values(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.deep(after=2)
@pytest.mark.parametrize(
    ("stamp", "reason"),
    [
        (lambda: packed(plain() + bytes(400_000_000), 1), "too_large"),
        (lambda: packed(plain() + bytes(400_000_000), 1)[:-4] + bytes(4), "too_large"),
        (lambda: packed(plain()) + packed(bytes(400_000_000), 1), "too_large"),
        (lambda: TWO + PIXELS, "bad_fits"),
        (lambda: TWO.replace(b"-32", b"-64"), "bad_fits"),
    ],
    ids=["bomb", "whose length is hidden", "in a second member", "pixels", "doubles"],
)
def test_no_stamp_takes_more_memory_than_it_may(stamp, reason):
    done = subprocess.run([sys.executable, "-c", BOMB], input=stamp(), capture_output=True, check=True)
    found, kilobytes = done.stdout.split()
    assert found.decode() == reason
    assert int(kilobytes) < 50_000


def test_members_and_padding_behind_gzip_are_read_as_the_standard_has_it():
    content = plain()
    arrays = decoded(packed(content[:100]) + packed(content[100:]), packed(content) + bytes(7), shape=(3, 4))
    check(arrays, 0, IMAGE)
    check(arrays, 1, IMAGE)


def test_columns_are_null_where_no_stamp_is():
    pixels, shapes = decoded(plain(), None, b"nothing", plain(IMAGE.T), shape=(4, 4)).columns()
    assert pixels.type == pa.fixed_shape_tensor(pa.float32(), (4, 4))
    assert shapes.to_pylist() == [[3, 4], None, None, [4, 3]]
    assert pixels.is_valid().to_pylist() == [True, False, False, True]
    np.testing.assert_array_equal(pixels[3].to_numpy()[:, :3], IMAGE.T)


@pytest.mark.parametrize("count", [0, 1, TOGETHER, TOGETHER + 1, 3 * TOGETHER])
def test_any_number_of_stamps_and_slices(count):
    stamps = pa.array([b"skipped", *(plain(IMAGE + place) for place in range(count))], pa.binary())
    arrays = decode(stamps.slice(1), (3, 4), MOST)
    assert arrays.valid.tolist() == [True] * count
    np.testing.assert_array_equal(arrays.pixels, IMAGE + np.arange(count).reshape(-1, 1, 1))
    assert len(arrays.columns()[0]) == count
