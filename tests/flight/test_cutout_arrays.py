"""Cutouts as tensors, from the ticket to Arrow, pandas and Polars."""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import oracle
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from alert_data import SAMPLES, TDE, alert_files
from archives import Opened, ask, digest
from astropy.io import fits

from flight_server.catalog.catalog import load_catalog
from flight_server.execution.archive import Archive
from flight_server.flight import FlightServer
from flight_server.service.process import open_archive
from flight_server.settings import load_settings

KINDS = ["Science", "Template", "Difference"]
PIXELS, SHAPE = "b:cutoutScience_stampData", "b:cutoutScience_shape"
TENSOR = pa.fixed_shape_tensor(pa.float32(), (63, 63))
Pixels = npt.NDArray[Any]


def image(stamp: bytes) -> Pixels:
    with fits.open(io.BytesIO(gzip.decompress(stamp)), ignore_missing_simple=True) as hdus:
        return np.array(hdus[0].data)


@pytest.mark.both_stores
def test_every_stamp_has_the_pixels_that_astropy_reads(client: fl.FlightClient) -> None:
    answered = ask(client, table="ztf", all=True, columns=["i:candid"], cutouts=KINDS, cutout_format="array")
    assert (answered.record["missing_cutouts"], answered.record["cutout_errors"]) == (0, {})
    expected = oracle.stamps(alert_files(SAMPLES))
    seen = Counter(row[SHAPE][1] for row in answered.table.select([SHAPE]).to_pylist())
    assert len(seen) > 1, "stamps of the edge of a detector are among them"
    for kind in KINDS:
        name = f"b:cutout{kind}_stampData"
        pixels = answered.table[name].combine_chunks().to_numpy_ndarray()
        assert (pixels.dtype, pixels.shape) == (np.dtype("<f4"), (108, 63, 63))
        shapes = answered.table[f"b:cutout{kind}_shape"].to_pylist()
        for candid, found, (rows, columns) in zip(answered.table["i:candid"].to_pylist(), pixels, shapes, strict=True):
            (stamp,) = expected[candid, kind]
            wanted = image(stamp)
            assert wanted.shape == (rows, columns)
            assert found[:rows, :columns].tobytes() == wanted.astype("<f4").tobytes()
            beyond = np.ones_like(found, dtype=bool)
            beyond[:rows, :columns] = False
            assert np.isnan(found[beyond]).all()


def test_the_schema_says_what_the_columns_are(client: fl.FlightClient) -> None:
    ticket = {
        "table": "ztf",
        "ids": ["nobody"],
        "columns": ["i:jd"],
        "cutouts": ["Difference", "Science"],
        "cutout_format": "array",
    }
    schema = client.get_schema(fl.FlightDescriptor.for_command(json.dumps(ticket))).schema
    names = ["i:jd", "b:cutoutDifference_stampData", "b:cutoutDifference_shape", PIXELS, SHAPE]
    assert schema.names == names
    assert schema.field(PIXELS).type == TENSOR
    assert schema.field(SHAPE).type == pa.list_(pa.int16(), 2)
    for name in names[1:]:
        assert set(schema.field(name).metadata) == {b"unit", b"ucd", b"description", b"origin"}
        assert schema.field(name).metadata[b"origin"] == b"survey"
    assert schema.field(PIXELS).metadata[b"unit"] == b"adu"
    assert b"science image" in schema.field(PIXELS).metadata[b"description"]
    answered = ask(client, **ticket)
    assert answered.table.schema.equals(schema, check_metadata=True)
    assert len(answered.table) == 0


def test_a_client_without_tensors_sees_lists_of_fixed_length(client: fl.FlightClient) -> None:
    pa.unregister_extension_type("arrow.fixed_shape_tensor")
    try:
        answered = ask(client, table="ztf", ids=["ZTF20abfcszi"], columns=["i:jd"], cutouts=["Science"], cutout_format="array")
    finally:
        pa.register_extension_type(TENSOR)
    field = answered.table.schema.field(PIXELS)
    assert field.type == pa.list_(pa.float32(), 63 * 63)
    assert field.metadata[b"ARROW:extension:name"] == b"arrow.fixed_shape_tensor"
    assert json.loads(field.metadata[b"ARROW:extension:metadata"])["shape"] == [63, 63]


def test_rows_without_stamps_have_neither_pixels_nor_shape(client: fl.FlightClient) -> None:
    answered = ask(
        client,
        table="ztf",
        all=True,
        columns=["i:jd"],
        upper_limits=True,
        cutouts=["Science"],
        cutout_format="array",
        digest=True,
    )
    assert answered.record["missing_cutouts"] == 0
    own = [tag == "valid" for tag in answered.table["d:tag"].to_pylist()]
    assert not all(own)
    assert answered.table[PIXELS].is_valid().to_pylist() == own
    assert answered.table[SHAPE].is_valid().to_pylist() == own
    assert answered.record["digest"] == digest(answered.table)


@pytest.mark.parametrize("max_message_bytes", [20_000, 100_000, None])
def test_messages_are_of_the_size_asked_for(client: fl.FlightClient, max_message_bytes: int | None) -> None:
    bound = {} if max_message_bytes is None else {"max_message_bytes": max_message_bytes}
    fields: dict[str, Any] = {
        "table": "ztf",
        "all": True,
        "columns": ["i:candid"],
        "cutouts": ["Science"],
        "cutout_format": "array",
    }
    whole = ask(client, **fields, digest=True)
    answered = ask(client, **fields, **bound, digest=True)
    assert answered.record["digest"] == whole.record["digest"] == digest(answered.table)
    sizes = [pa.ipc.get_record_batch_size(batch) for batch in answered.table.to_batches()]
    assert max(sizes) <= (max_message_bytes or 2_097_152)
    # the first leaves at once, the last is what is left
    assert all(size > min((max_message_bytes or 2_097_152) / 4, 500_000) / 2 for size in sizes[1:-1])


def test_a_row_that_fits_no_message_is_named(client: fl.FlightClient) -> None:
    with pytest.raises(fl.FlightServerError) as caught:
        ask(client, table="ztf", ids=["ZTF20abfcszi"], cutouts=["Science"], cutout_format="array", max_message_bytes=15_000)
    assert json.loads(caught.value.extra_info)["code"] == "row_too_large"


@pytest.mark.both_stores
def test_a_broken_answer_goes_on_from_its_cursor(client: fl.FlightClient) -> None:
    fields: dict[str, Any] = {"table": "ztf", "all": True, "columns": ["i:candid"], "cutouts": ["Science"]}
    fields |= {"cutout_format": "array", "max_message_bytes": 500_000}
    whole = ask(client, **fields)
    after = ask(client, **fields, resume_after=whole.messages[0][1]["cursor"])
    first = whole.messages[0][0]
    assert 0 < first < 108
    assert digest(after.table) == digest(whole.table.slice(first))


def broken(stamps: list[bytes]) -> list[bytes | None]:
    """Damage the first cutouts, each in another way."""
    plain = gzip.decompress(stamps[4])
    large = io.BytesIO()
    fits.PrimaryHDU(np.zeros((64, 63), dtype=">f4")).writeto(large)
    return [
        stamps[0][:-1],
        b"nothing of the kind",
        gzip.compress(plain[:10_000]),
        gzip.compress(large.getvalue()),
        plain,
        gzip.compress(bytes(9_000_000)),
        None,
        *stamps[7:],
    ]


@pytest.mark.both_stores
def test_what_cannot_be_decoded_is_null_and_counted(
    open_store: Callable[..., Opened], serve: Callable[..., fl.FlightClient], tmp_path: Path
) -> None:
    alerts = pq.read_table(TDE)
    place = alerts.schema.get_field_index("cutoutScience")
    held = alerts["cutoutScience"].combine_chunks()
    made = broken(held.field("stampData").to_pylist())
    struct = pa.StructArray.from_arrays([held.field("fileName"), pa.array(made, pa.binary())], names=["fileName", "stampData"])
    pq.write_table(alerts.set_column(place, "cutoutScience", struct), tmp_path / "broken.parquet")
    opened = open_store()
    assert not opened.ingest(tmp_path / "broken.parquet").failures
    client = serve(opened)
    answered = ask(client, table="ztf", all=True, columns=["i:candid"], cutouts=["Science", "Template"], cutout_format="array")
    counted = {"bad_gzip": 1, "not_fits": 1, "bad_fits": 1, "larger_than_shape": 1, "too_large": 1}
    assert (answered.record["cutout_errors"], answered.record["missing_cutouts"]) == (counted, 1)
    candids = alerts["candid"].to_pylist()
    gone = {candids[number] for number in (0, 1, 2, 3, 5, 6)}
    for row in answered.table.select(["i:candid", SHAPE, "b:cutoutTemplate_shape"]).to_pylist():
        assert (row[SHAPE] is None) == (row["i:candid"] in gone)
        assert row["b:cutoutTemplate_shape"] == [63, 63]
    assert answered.table[PIXELS].is_null().to_pylist() == answered.table[SHAPE].is_null().to_pylist()
    packed = ask(client, table="ztf", all=True, columns=["i:candid"], cutouts=["Science"]).record
    assert (packed["cutout_errors"], packed["missing_cutouts"]) == ({}, 1)


def test_the_shape_is_a_setting(sample: Opened) -> None:
    environment = {"ALERTFLIGHT_CUTOUTS__ARRAY_SHAPE": "{ztf: [50, 70]}"}
    settings = load_settings(environment=environment, data=str(sample.settings.folder), port=0)
    archive, store = open_archive(settings)
    with FlightServer(archive, settings) as server, fl.connect(f"grpc://127.0.0.1:{server.port}") as client:
        answered = ask(client, table="ztf", all=True, columns=["i:jd"], cutouts=["Science"], cutout_format="array")
    store.close()
    assert answered.table.schema.field(PIXELS).type.shape == [50, 70]
    fitting = [shape is not None for shape in answered.table[SHAPE].to_pylist()]
    assert answered.record["cutout_errors"] == {"larger_than_shape": fitting.count(False)}


def test_a_survey_without_a_shape_has_no_arrays(sample: Opened) -> None:
    catalog = load_catalog().with_array_shape({})
    archive = Archive(catalog, sample.store, sample.store.cutouts, sample.settings)
    with FlightServer(archive, sample.settings) as server, fl.connect(f"grpc://127.0.0.1:{server.port}") as client:
        assert ask(client, table="ztf", ids=["nobody"], cutouts=["Science"]).record["missing"] == 1
        with pytest.raises(fl.FlightServerError, match=r"cutouts\.array_shape has no shape for ztf"):
            ask(client, table="ztf", ids=["nobody"], cutouts=["Science"], cutout_format="array")


def test_pandas_and_polars_take_the_table(client: fl.FlightClient) -> None:
    fields: dict[str, Any] = {"table": "ztf", "ids": ["ZTF20abfcszi"], "cutouts": ["Science"], "cutout_format": "array"}
    table = ask(client, **fields, columns=["i:candid"]).table
    wanted = table[PIXELS].combine_chunks().to_numpy_ndarray()
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    assert frame["i:candid"].dtype == pd.ArrowDtype(pa.int64())
    assert [list(shape) for shape in frame[SHAPE]] == [[63, 63]] * 21
    np.testing.assert_array_equal(np.stack(list(table.to_pandas()[PIXELS])).reshape(-1, 63, 63), wanted)
    polars = pl.from_arrow(table)
    assert isinstance(polars, pl.DataFrame)
    assert polars["i:candid"].to_list() == table["i:candid"].to_pylist()
    assert polars[SHAPE].to_list() == [[63, 63]] * 21
    np.testing.assert_array_equal(np.array(polars[PIXELS].ext.storage().to_list(), dtype="f4").reshape(-1, 63, 63), wanted)
