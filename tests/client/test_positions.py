"""Many positions, some of which are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table
from astropy.utils.masked import Masked

import flight_client as af
from flight_client.values import angles
from flight_server.flight import FlightServer

RA, DEC = 7.80625, 85.0089
NAN = float("nan")
COLUMNS = ["i:objectId", "i:jd"]


@pytest.fixture
def archive(server: FlightServer) -> af.Archive:
    return af.connect(f"grpc://127.0.0.1:{server.port}")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("ra", NAN, "ra nan, not a number from -360 to 360, in degrees"),
        ("ra", 360.1, "ra 360.1, not a number from -360"),
        ("ra", float("inf"), "ra inf"),
        ("dec", NAN, "dec nan, not a number from -90 to 90"),
        ("dec", -90.5, "dec -90.5"),
        ("radius", NAN, "radius nan, not a number from 0 to 18000, in arcsec"),
        ("radius", -1.0, "radius -1.0"),
        ("radius", 18_001.0, "radius 18001.0"),
    ],
)
def test_one_bad_position_among_many_is_named_or_skipped(archive: af.Archive, column: str, value: float, reason: str) -> None:
    given = {"ra": [RA] * 6, "dec": [DEC] * 6, "radius": [5.0] * 6}
    given[column][2] = value
    ra, dec, radius = given.values()
    with pytest.raises(af.errors.BadValue) as caught:
        archive.cones(ra, dec, radius=radius)
    assert caught.value.message.startswith(f"row 2 of positions has {reason}")
    assert caught.value.message.endswith('correct it, or leave such rows out with bad="skip"')
    assert (caught.value.field, caught.value.value) == ("positions", "2")
    exchange = archive.cones(ra, dec, radius=radius, columns=COLUMNS, bad="skip")
    with pytest.warns(UserWarning, match="1 row of positions skipped: row 2 has"):
        rows = exchange.to_arrow()
    assert rows["index"].unique().to_pylist() == [0, 1, 3, 4, 5], "rows keep their numbers"
    assert exchange.record is not None
    assert exchange.record.skipped == [2]
    assert exchange.notes == [f"1 row of positions skipped: row 2 has {exchange.notes[0].partition('row 2 has ')[2]}"]


def test_the_first_of_several_bad_positions_is_named(archive: af.Archive) -> None:
    with pytest.raises(af.errors.BadValue, match="row 1 of positions has dec 91"):
        archive.cones([RA, RA, NAN], [DEC, 91, DEC], radius=5)
    with pytest.warns(UserWarning, match="7 rows of positions skipped: row 0 has .*; row 4 has .*; \\.\\.\\."):
        rows = archive.cones([NAN] * 7 + [RA], [DEC] * 8, radius=5, columns=COLUMNS, bad="skip").to_arrow()
    assert set(rows["index"].to_pylist()) == {7}


def test_no_good_position_is_an_empty_answer(archive: af.Archive) -> None:
    exchange = archive.cones([NAN, NAN], [DEC, DEC], radius=5, columns=COLUMNS, bad="skip")
    with pytest.warns(UserWarning, match="2 rows of positions skipped"), pytest.warns(UserWarning, match="the input is empty"):
        assert exchange.to_arrow().schema.names == ["index", *COLUMNS]
    with pytest.warns(UserWarning, match="the input is empty"):
        assert len(archive.cones([], [], radius=5, columns=COLUMNS).to_arrow()) == 0


def test_numbers_of_the_rows_hold_over_several_batches(archive: af.Archive) -> None:
    ids: list[Any] = ["nobody"] * 1_500
    for row in (0, 100, 1_001):
        ids[row] = None
    for row in (99, 101, 1_000, 1_499):
        ids[row] = "ZTF20abfcszi"
    exchange = archive.exchange(ids, bad="skip", columns=["i:jd"])
    with pytest.warns(UserWarning, match="3 rows of ids skipped"):
        rows = exchange.to_arrow()
    assert rows["index"].unique().to_pylist() == [99, 101, 1_000, 1_499]


@pytest.mark.parametrize(
    "given",
    [
        [1.0, None],
        (1.0, pd.NA),
        np.array([1.0, np.nan], dtype=np.float32),
        np.ma.array([1.0, 2.0], mask=[0, 1]),
        pd.Series([1.0, None]),
        pd.Series([1, None], dtype="Int64"),
        pd.Series([1.0, None], dtype=pd.ArrowDtype(pa.float64())),
        pl.Series([1.0, None]),
        pa.array([1.0, None]),
        pa.chunked_array([[1.0], [None]]),
        MaskedColumn([1.0, 2.0], mask=[False, True]),
        MaskedColumn([1.0, 2.0], mask=[False, True], unit="deg"),
        Masked([1.0, 2.0] * u.deg, mask=[False, True]),
        iter([1.0, None]),
    ],
    ids=lambda given: type(given).__name__,
)
def test_a_missing_angle_is_nan_in_every_library(given: Any) -> None:
    assert angles(given, "deg", "cone.ra").tolist() == pytest.approx([1.0, NAN], nan_ok=True)


def test_columns_have_their_unit() -> None:
    table = Table({"ra": [1.0, 2.0]}, units={"ra": u.hourangle})
    assert angles(table["ra"], "deg", "cone.ra").tolist() == pytest.approx([15.0, 30.0])
    masked = SkyCoord(Masked([1.0, 2.0] * u.deg, mask=[False, True]), [3.0, 4.0] * u.deg)
    assert angles(masked.ra, "deg", "cone.ra").tolist() == pytest.approx([1.0, NAN], nan_ok=True)


@pytest.mark.parametrize("wrong", [[True, False], ["a"], [1 + 2j], [[1.0], [1.0, 2.0]], object(), Table({"x": [1.0] * u.s})["x"]])
def test_what_is_no_angle_is_refused(wrong: Any) -> None:
    with pytest.raises(af.errors.BadValue, match="must be angles"):
        angles(wrong, "deg", "cone.ra")


def test_arrays_of_other_lengths_are_refused(archive: af.Archive) -> None:
    with pytest.raises(af.errors.BadValue, match="arrays of one length, not 2 ra, 3 dec, 1 radius"):
        archive.cones([1.0, 2.0], [1.0, 2.0, 3.0], radius=5)
