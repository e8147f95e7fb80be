"""Answers as tables of astropy and files of the Virtual Observatory, written and read back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import votable
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning

import flight_client as af
from flight_server.flight import FlightServer

UPPER = "ZTF25aauurnj"
COLUMNS = ["i:objectId", "i:candid", "i:jd", "i:fid", "i:magpsf", "d:gaiaVarFlag", "d:from_upper", "i:ssnamenr", "i:zpclrcov"]


@pytest.fixture
def answer(server: FlightServer) -> af.Answer:
    """An answer with nulls in columns of every type."""
    archive = af.connect(f"grpc://127.0.0.1:{server.port}")
    return archive.objects(["ZTF20abfcszi", UPPER], columns=COLUMNS, upper_limits=True)


def check(found: Table, answer: af.Answer, *, nulls: bool) -> None:
    """Compare a table that was read with the rows: values, masks, units, UCDs and descriptions."""
    rows = answer.to_arrow()
    assert found.colnames == [name.replace(":", "_") for name in rows.column_names]
    for field in rows.schema:
        column = found[field.name.replace(":", "_")]
        cells = rows[field.name].to_pylist()
        there = np.array([cell is not None for cell in cells])
        held = np.asarray(column)[there].tolist()
        assert [one.decode() if isinstance(one, bytes) else one for one in held] == [cell for cell in cells if cell is not None]
        if pa.types.is_string(field.type):
            assert set(np.ma.filled(np.ma.asarray(column), "")[~there].tolist()) <= {"", b""}
        elif nulls:
            assert np.ma.getmaskarray(column).tolist() == (~there).tolist(), field.name
        told = {name.decode(): text.decode() for name, text in field.metadata.items()}
        assert column.unit == (u.Unit(told["unit"]) if told["unit"] else None), field.name
        assert column.meta["ucd"] == told["ucd"]
        assert " ".join(column.description.split()) == told["description"]


@pytest.mark.parametrize(
    ("kind", "written", "nulls"),
    [
        ("votable", {"tabledata_format": "tabledata"}, True),
        ("votable", {"tabledata_format": "binary2"}, True),
        ("ascii.ecsv", {}, True),
        ("parquet", {}, True),
        ("fits", {}, False),  # has no null booleans
    ],
)
def test_a_plain_table_is_written_to_any_file_and_read_back(
    answer: af.Answer, tmp_path: Path, kind: str, written: dict[str, Any], *, nulls: bool
) -> None:
    table = answer.to_astropy(plain=True)
    assert not isinstance(table, QTable)
    assert table["i_jd"].tolist() == answer.to_arrow()["i:jd"].to_pylist()
    assert table["i_jd"].info.meta["time_scale"] == "utc"
    table.write(tmp_path / "x", format=kind, **written)
    check(Table.read(tmp_path / "x", format=kind), answer, nulls=nulls)


def test_a_votable_has_its_times_and_all_else(answer: af.Answer, tmp_path: Path) -> None:
    for ending in (".vot", ".xml"):
        file = tmp_path / f"curve{ending}"
        answer.to_votable(file)
        check(Table.read(file, format="votable"), answer, nulls=True)
        read = votable.parse(file, verify="exception")
        (system,) = read.resources[0].time_systems
        assert (system.timescale, system.timeorigin) == ("UTC", "JD-origin")
        fields = {field.name: field for field in read.get_first_table().fields}
        assert fields["i_jd"].ref == system.ID
        assert fields["i_magpsf"].ref is None


def test_a_parquet_file_has_exact_types_and_the_header_of_a_votable(answer: af.Answer, tmp_path: Path) -> None:
    answer.to_votable(str(tmp_path / "curve.parquet"))
    rows, found = answer.to_arrow(), pq.read_table(tmp_path / "curve.parquet")
    assert found.schema.types == rows.schema.types
    for name in rows.column_names:
        cells = rows[name].to_pylist()
        if pa.types.is_string(rows.schema.field(name).type):
            cells = [cell or "" for cell in cells]
        assert found[name.replace(":", "_")].to_pylist() == cells, "64-bit integers and nulls are exact"
    metadata = found.schema.metadata
    assert metadata[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    fields = votable.parse(io.BytesIO(metadata[b"IVOA.VOTable-Parquet.content"])).get_first_table().fields
    for field, told in zip(fields, rows.schema, strict=True):
        assert field.name == told.name.replace(":", "_")
        assert field.ucd == told.metadata[b"ucd"].decode()
        assert field.unit == (u.Unit(told.metadata[b"unit"].decode()) if told.metadata[b"unit"] else None)


def test_astropy_reads_the_parquet_file_with_units(answer: af.Answer, tmp_path: Path) -> None:
    some = answer.changed(columns=("i:objectId", "i:candid", "i:jd", "i:magpsf"), upper_limits=False)
    some.to_votable(tmp_path / "curve.parquet")
    check(Table.read(tmp_path / "curve.parquet", format="parquet.votable"), some, nulls=True)
    table = some.to_astropy(plain=True)
    table.write(tmp_path / "own.parquet", format="parquet.votable", metadata={name: {} for name in table.colnames})
    with pytest.warns(AstropyUserWarning, match="Using longest string"):
        own = Table.read(tmp_path / "own.parquet", format="parquet.votable")
    check(own, some, nulls=True)


def test_pixels_are_written_and_empty_answers_too(answer: af.Answer, tmp_path: Path) -> None:
    stamps = answer.changed(columns=("i:jd",), upper_limits=False, cutouts=("Science",), cutout_format="array")
    for some in (stamps, answer.changed(ids=("nobody",))):
        for file, kind in (("x.vot", "votable"), ("x.parquet", "parquet.votable")):
            some.to_votable(tmp_path / file)
            assert len(Table.read(tmp_path / file, format=kind)) == len(some.to_arrow())


def test_what_a_file_cannot_hold_is_refused_by_name(answer: af.Answer, tmp_path: Path) -> None:
    stored = answer.changed(columns=("i:jd",), upper_limits=False, cutouts=("Science",))
    for act in (lambda some: some.to_astropy(plain=True), lambda some: some.to_votable(tmp_path / "x.vot")):
        with pytest.raises(af.errors.NotSupported, match="cannot hold the bytes of b:cutoutScience_stampData"):
            act(stored)
        with pytest.raises(af.errors.NotSupported, match="nested column lightcurve: use layout rows"):
            act(answer.nested())
    with pytest.raises(af.errors.BadValue, match=r"ends in \.vot, \.xml, \.parquet, not x\.fits"):
        answer.to_votable(tmp_path / "x.fits")
    assert not list(tmp_path.iterdir())
