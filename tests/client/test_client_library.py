"""`import flight_client as af`: what a notebook does with an archive."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import ask, digest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.time import Time
from astropy_healpix import HEALPix

import flight_client as af
from flight_client.frames import to_astropy, to_nested
from flight_client.skymaps import read_skymap
from flight_server.flight import FlightServer

IDS = ["ZTF20abfcszi", "ZTF18abadigg"]
COLUMNS = ["i:objectId", "i:candid", "i:jd", "i:magpsf", "d:gaiaVarFlag"]


@pytest.fixture
def archive(server: FlightServer) -> af.Archive:
    return af.connect(f"grpc://127.0.0.1:{server.port}")


@pytest.mark.both_stores
def test_objects_in_every_form(archive: af.Archive, client: fl.FlightClient) -> None:
    wanted = ask(client, table="ztf", ids=IDS, columns=COLUMNS).table
    answer = archive.objects(IDS, columns=COLUMNS)
    assert answer.to_arrow().equals(wanted)
    assert answer.to_arrow().schema.equals(wanted.schema, check_metadata=True)
    assert answer.reader().read_all().equals(wanted)
    assert pa.Table.from_batches(answer).equals(wanted), "read again, by hand"
    frame = answer.to_pandas()
    assert frame["i:candid"].dtype == np.int64
    assert frame["i:candid"].tolist() == wanted["i:candid"].to_pylist()
    polars = answer.to_polars()
    assert polars.schema["i:candid"] == pl.Int64
    assert polars["i:candid"].to_list() == wanted["i:candid"].to_pylist()
    assert answer.missing == []
    assert answer.record is not None
    assert (answer.record.rows, answer.record.objects) == (len(wanted), 2)


def test_an_answer_with_nothing_in_it_has_its_columns(archive: af.Archive) -> None:
    answer = archive.objects(["nobody"], columns=COLUMNS)
    assert answer.to_arrow().schema.names == COLUMNS
    assert len(answer.to_pandas()) == len(answer.to_polars()) == len(answer.to_astropy()) == 0
    assert answer.schema.field("i:candid").type == pa.int64()


def test_ids_may_be_held_in_many_ways(archive: af.Archive) -> None:
    forms: list[Any] = [
        IDS,
        tuple(IDS),
        iter(IDS),
        np.array(IDS),
        pa.array(IDS),
        pa.chunked_array([IDS[:1], IDS[1:]]),
        pd.Series(IDS),
        pd.Series(IDS, dtype=pd.ArrowDtype(pa.string())),
        pl.Series(IDS),
        [*IDS, IDS[0]],
    ]
    for form in forms:
        assert archive.objects(form).query.ids == tuple(IDS)
    assert archive.objects("ZTF20abfcszi").query.ids == ("ZTF20abfcszi",)
    assert archive.objects(np.array([170587115523932323])).query.ids == (170587115523932323,)
    for wrong in ([1.0], [None], np.array([1.5]), 7.5, [True]):
        with pytest.raises(af.errors.BadValue) as caught:
            archive.objects(wrong)
        assert caught.value.field == "ids"


def test_missing_objects_are_listed_or_raise(archive: af.Archive) -> None:
    answer = archive.objects(["nobody", *IDS, "no one"], columns=["i:jd"])
    with pytest.raises(RuntimeError, match="read the answer first"):
        _ = answer.missing
    assert len(answer.to_arrow()) == 22
    assert answer.missing == ["nobody", "no one"]
    strict = archive.objects(["nobody", *IDS], columns=["i:jd"], missing="raise")
    with pytest.raises(af.MissingObjects, match="no rows for 1 of the IDs: nobody") as caught:
        strict.to_pandas()
    assert caught.value.ids == ["nobody"]
    assert pickle.loads(pickle.dumps(caught.value)).ids == ["nobody"]
    with pytest.raises(af.errors.BadValue, match="list or raise"):
        archive.objects(IDS, missing="ignore")


def test_errors_are_those_of_the_server(archive: af.Archive) -> None:
    with pytest.raises(af.errors.UnknownColumn, match="did you mean i:magpsf") as caught:
        archive.objects(IDS, columns=["i:magpsff"]).to_arrow()
    assert caught.value.value == "i:magpsff"
    for act in (lambda answer: answer.schema, lambda answer: answer.plan()):
        with pytest.raises(af.errors.UnknownColumn):
            act(archive.objects(IDS, columns=["i:magpsff"]))
    with pytest.raises(af.errors.UnknownTable):
        archive.schema("ztff")
    with pytest.raises(af.errors.UnknownTable):
        archive.objects(IDS, table="ztff", start=Time("2020-08-20")).to_arrow()
    with pytest.raises(af.errors.UnknownField):
        archive.objects(IDS, colums=["i:jd"])
    with pytest.raises(af.errors.BackendLost, match=r"no answer from grpc://127\.0\.0\.1:1"):
        af.connect("grpc://127.0.0.1:1").objects(IDS).to_arrow()
    with pytest.raises(af.errors.BadValue, match="is not the address"):
        af.connect("http//").objects(IDS).to_arrow()


def test_selections_are_those_of_tickets(archive: af.Archive, client: fl.FlightClient) -> None:
    row = ask(client, table="ztf", ids=IDS, columns=["i:ra", "i:dec"]).table.slice(0, 1).to_pylist()[0]
    ra, dec = row["i:ra"], row["i:dec"]
    cone = ask(client, table="ztf", cone={"ra": ra, "dec": dec, "radius": 30}, columns=["i:objectId", "i:jd"]).table
    assert len(cone) > 0
    place = SkyCoord(ra * u.deg, dec * u.deg)
    for answer in (
        archive.cone(ra, dec, radius=30, columns=["i:objectId", "i:jd"]),
        archive.cone(ra * u.deg, (dec * 60) * u.arcmin, radius=0.5 * u.arcmin, columns=["i:objectId", "i:jd"]),
        archive.cone(place, radius=30 * u.arcsec, columns=["i:objectId", "i:jd"]),
        archive.cone(place.galactic, radius=30, columns=["i:objectId", "i:jd"]),
    ):
        assert answer.to_arrow().equals(cone)
    assert archive.all("ztf", columns=["i:jd"]).to_arrow().equals(ask(client, table="ztf", all=True, columns=["i:jd"]).table)
    listed = archive.select(table="ztf.class", class_="SN candidate", limit_objects=2, columns="i:objectId")
    wanted = ask(client, table="ztf.class", limit_objects=2, columns=["i:objectId"], **{"class": "SN candidate"}).table
    assert listed.to_arrow().equals(wanted)
    assert listed.record is not None
    assert not listed.record.complete
    for wrong in ((), (place, 3), (ra, dec, 3), (np.array([1.0, 2.0]), dec), (ra * u.s, dec), ("a", dec)):
        with pytest.raises(af.errors.BadValue):
            archive.cone(*wrong, radius=3)
    with pytest.raises(af.errors.BadValue, match=r"cone\.radius"):
        archive.cone(place, radius=3 * u.s)


def test_a_sky_map_is_read_from_a_file_or_its_bytes(archive: af.Archive, client: fl.FlightClient, tmp_path: Path) -> None:
    row = ask(client, table="ztf", ids=IDS, columns=["i:ra", "i:dec"]).table.slice(0, 1).to_pylist()[0]
    likely = np.zeros(12 * 32**2)
    likely[HEALPix(32).lonlat_to_healpix(row["i:ra"] * u.deg, row["i:dec"] * u.deg)] = 1.0
    pixels = fits.BinTableHDU.from_columns([fits.Column(name="PROB", format="D", array=likely)])
    pixels.header["NSIDE"] = 32
    file = tmp_path / "map.fits"
    pixels.writeto(file)
    wanted = ask(client, table="ztf", skymap=read_skymap(file, 0.9), columns=["i:objectId", "i:jd"]).table
    assert IDS[0] in wanted["i:objectId"].to_pylist()
    for source in (file, str(file), file.read_bytes()):
        assert archive.skymap(source, columns=["i:objectId", "i:jd"]).to_arrow().equals(wanted)


def test_astropy_gets_units_scales_and_masks(archive: af.Archive) -> None:
    answer = archive.objects(IDS, columns=[*COLUMNS, "v:lastdate", "i:magnr"])
    table, arrow = answer.to_astropy(), answer.to_arrow()
    assert isinstance(table, QTable)
    assert table.colnames == arrow.schema.names
    assert isinstance(table["i:jd"], Time)
    assert (table["i:jd"].scale, table["i:jd"].format) == ("utc", "jd")
    assert table["i:jd"].jd.tolist() == arrow["i:jd"].to_pylist()
    assert table["i:magpsf"].unit == u.mag
    assert table["i:magpsf"].dtype == np.float32
    assert table["i:magpsf"].value.tolist() == arrow["i:magpsf"].to_pylist()
    assert table["i:candid"].tolist() == arrow["i:candid"].to_pylist()
    assert table["i:objectId"].tolist() == arrow["i:objectId"].to_pylist()
    assert table["d:gaiaVarFlag"].mask.tolist() == arrow["d:gaiaVarFlag"].is_null().to_pylist()
    assert table["i:jd"].info.description == arrow.schema.field("i:jd").metadata[b"description"].decode()


def test_astropy_takes_every_column_and_stamps(archive: af.Archive, client: fl.FlightClient) -> None:
    whole = ask(client, table="ztf", all=True).table
    table = archive.all("ztf").to_astropy()
    assert table.colnames == whole.schema.names
    for name in whole.schema.names:
        cells = whole[name].to_pylist()
        column = table[name]
        values = getattr(column, "jd", getattr(column, "value", column))
        mask = np.ma.getmaskarray(values) if not hasattr(values, "mask") else np.asarray(values.mask)
        assert mask.tolist() == [cell is None for cell in cells], name
        there = [cell for cell in cells if cell is not None]
        assert np.asarray(getattr(values, "unmasked", values))[~mask].tolist() == pytest.approx(there, nan_ok=True, abs=0), name
    stamps = archive.all("ztf", columns=["i:candid"], cutouts=["Science"], cutout_format="array").to_astropy()
    assert stamps["b:cutoutScience_stampData"].shape == (108, 63, 63)
    assert stamps["b:cutoutScience_stampData"].unit == u.adu
    assert stamps["b:cutoutScience_shape"].shape == (108, 2)
    stored = archive.all("ztf", columns=["i:candid"], cutouts=["Science"])
    assert stored.to_astropy()["b:cutoutScience_stampData"].tolist() == stored.to_arrow()["b:cutoutScience_stampData"].to_pylist()


def test_a_nested_table_becomes_a_nested_frame() -> None:
    kind = pa.struct([("i:jd", pa.float64()), ("i:candid", pa.int64()), ("i:magpsf", pa.float32())])
    big = 170587115523932323
    curves = [[{"i:jd": 1.0, "i:candid": big, "i:magpsf": 18.0}, {"i:jd": 2.0, "i:candid": None, "i:magpsf": None}], []]
    table = pa.table({"i:objectId": ["a", "b"], "lightcurve": pa.array(curves, pa.list_(kind))})
    frame = to_nested(table)
    assert frame.nested_columns == ["lightcurve"]
    assert frame["lightcurve.i:candid"].dropna().tolist() == [big]
    assert frame["lightcurve.i:magpsf"].isna().tolist() == [False, True]
    assert frame["i:objectId"].tolist() == ["a", "b"]
    assert len(to_nested(table.slice(0, 0))) == 0
    with pytest.raises(af.errors.NotSupported, match="layout rows"):
        to_astropy(table)


def test_light_curves_nested(archive: af.Archive, client: fl.FlightClient) -> None:
    answer = archive.objects([*IDS, "nobody"], columns=["i:jd", "i:candid"])
    flat = ask(client, table="ztf", ids=IDS, columns=["i:objectId", "i:jd", "i:candid"]).table
    frame = answer.to_nested()
    assert frame["i:objectId"].tolist() == IDS
    assert frame["lightcurve.i:candid"].tolist() == flat["i:candid"].to_pylist()
    assert frame["lightcurve.i:jd"].tolist() == flat["i:jd"].to_pylist()
    nested = answer.nested()
    assert nested.to_polars().explode("lightcurve").unnest("lightcurve")["i:candid"].to_list() == flat["i:candid"].to_pylist()
    assert nested.record is not None
    assert (nested.record.rows, nested.record.points) == (2, len(flat))
    assert nested.missing == ["nobody"]
    whole = archive.all("ztf", columns=["i:jd"], layout="nested")
    assert len(whole.to_nested()) == len({*archive.all("ztf", columns=["i:objectId"]).to_arrow()["i:objectId"].to_pylist()})
    assert whole.record is not None
    assert whole.record.points == 108


def test_reprs_are_short(archive: af.Archive) -> None:
    assert repr(archive) == f"<Archive at {archive.url}>"
    answer = archive.objects([f"ZTF{number}" for number in range(5000)])
    assert repr(answer) == "<Answer: 5,000 objects of ztf, all columns, not read yet>"
    few = archive.objects(IDS, columns=["i:jd"])
    few.to_arrow()
    assert repr(few) == "<Answer: 2 objects of ztf, 1 column, 22 rows>"
    assert repr(archive.cone(1, 2, radius=3, columns=COLUMNS)) == "<Answer: cone of ztf, 5 columns, not read yet>"


def test_what_the_server_says_about_itself(archive: af.Archive) -> None:
    assert archive.info()["name"] == "alertflight"
    assert "cone" in archive.tables()["ztf"]["selections"]
    assert {column["name"]: column["unit"] for column in archive.schema()}["i:magpsf"] == "mag"


def test_archives_can_be_used_again_and_sent(archive: af.Archive) -> None:
    with archive as same:
        assert same.info()
    assert archive.info(), "after the end of the block it connects again"
    sent = pickle.loads(pickle.dumps(archive))
    assert len(sent.objects(IDS[0], columns=["i:jd"]).to_arrow()) == 21


def test_progress_is_drawn_only_where_it_is_wanted(server: FlightServer, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"grpc://127.0.0.1:{server.port}"
    af.connect(url).objects(IDS, columns=["i:jd"]).to_arrow()
    assert capsys.readouterr().err == "", "standard error is no terminal here"
    af.connect(url, progress=True).objects(IDS, columns=["i:jd"]).to_arrow()
    drawn = capsys.readouterr().err
    assert "22 rows" in drawn
    assert drawn.endswith("\r")
    assert "0 of 1 parts" in drawn


@pytest.mark.parametrize("words", [{"threads": -1}, {"read_ahead": -5}])
def test_numbers_out_of_range_are_refused(words: dict[str, Any]) -> None:
    with pytest.raises(af.errors.BadValue) as caught:
        af.connect("grpc://127.0.0.1:8815", **words)
    assert caught.value.field in words


def test_a_long_list_is_read_in_order(archive: af.Archive) -> None:
    ids = [f"ZTF99{number:07}" for number in range(21_000)]
    ids[20_500:20_500] = IDS
    answer = archive.objects(ids, columns=["i:objectId", "i:jd"])
    table = answer.to_arrow()
    assert digest(table) == digest(archive.objects(IDS, columns=["i:objectId", "i:jd"]).to_arrow())
    assert len(answer.missing) == 21_000
