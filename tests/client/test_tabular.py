"""Answers handed to other libraries: pandas, Polars, Arrow, DuckDB, narwhals; and buffers as these need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import matplotlib as mpl
import matplotlib.pyplot as plt
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as fl
import pyarrow.interchange
import pytest
from archives import ask

import flight_client as af
from flight_client.frames import to_pandas
from flight_server.flight import FlightServer

ID = "ZTF20abfcszi"
UPPER = "ZTF25aauurnj"
COLUMNS = ["i:objectId", "i:candid", "i:jd", "i:magpsf", "d:gaiaVarFlag"]
BIG = 170587115523932323


@pytest.fixture
def url(server: FlightServer) -> str:
    return f"grpc://127.0.0.1:{server.port}"


@pytest.fixture
def archive(url: str) -> af.Archive:
    return af.connect(url)


def of_duckdb(answer: Any) -> pa.Table:  # DuckDB finds the variable by its name
    return duckdb.sql("select * from answer").to_arrow_table()


LIBRARIES: dict[str, Callable[[Any], pa.Table]] = {
    "pa.table": pa.table,
    "pa.RecordBatchReader": lambda answer: pa.RecordBatchReader.from_stream(answer).read_all(),
    "pl.DataFrame": lambda answer: pl.DataFrame(answer).to_arrow(),
    "pd.DataFrame.from_arrow": lambda answer: pa.Table.from_pandas(pd.DataFrame.from_arrow(answer), preserve_index=False),
    "duckdb.sql": of_duckdb,
    "duckdb.from_arrow": lambda answer: duckdb.from_arrow(answer).to_arrow_table(),
    "narwhals": lambda answer: nw.from_arrow(answer, backend="pyarrow").to_native(),
    "interchange": pa.interchange.from_dataframe,
}


@pytest.mark.parametrize("read", LIBRARIES.values(), ids=LIBRARIES)
def test_an_answer_is_a_table_to_other_libraries(
    archive: af.Archive, client: fl.FlightClient, read: Callable[[Any], pa.Table]
) -> None:
    answer = archive.objects(ID, columns=COLUMNS)
    wanted = ask(client, table="ztf", ids=[ID], columns=COLUMNS).table
    for time in range(2):
        found = read(answer)
        assert found.column_names == wanted.column_names
        for name in ("i:objectId", "i:candid", "i:jd", "i:magpsf"):
            assert found[name].to_pylist() == wanted[name].to_pylist(), f"read {time}"
    assert answer.record is not None
    assert answer.record.rows == len(wanted)
    exchange = archive.exchange([ID, "nobody", ID], columns=COLUMNS)
    found = read(exchange)
    assert found.column_names == ["index", *COLUMNS]
    assert found["index"].to_pylist() == [0] * len(wanted) + [2] * len(wanted)


def test_an_exchange_is_read_once(archive: af.Archive) -> None:
    exchange = archive.exchange([ID, ID], columns=COLUMNS)
    assert exchange.schema.equals(pa.schema(exchange)), "the schema may be read before"
    first = exchange.to_arrow()
    assert first.schema.field("index").metadata[b"description"]
    with pytest.raises(RuntimeError, match="an exchange is read once"):
        exchange.to_arrow()
    for read in (pa.table, pl.DataFrame, of_duckdb):
        with pytest.raises(Exception, match="an exchange is read once"):
            read(exchange)
    assert exchange.record is not None
    assert exchange.record.rows == len(first)


def test_the_schema_of_an_exchange_is_that_of_its_rows(archive: af.Archive) -> None:
    around = {"radius": 5, "columns": ["i:objectId", "v:separation_degree"]}
    for exchange in (archive.cones([7.80625], [85.0089], **around), archive.exchange([UPPER], upper_limits=True)):
        schema = exchange.schema
        batch = next(iter(exchange))
        assert batch.schema.equals(schema)
        assert batch.schema.remove(0).equals(schema.remove(0), check_metadata=True)


@pytest.mark.parametrize("read", LIBRARIES.values(), ids=LIBRARIES)
def test_an_error_in_the_middle_is_an_error_and_never_fewer_rows(archive: af.Archive, read: Callable[[Any], pa.Table]) -> None:
    with pytest.raises(Exception, match="no rows for 1 of the IDs: nobody"):
        read(archive.objects([ID, "nobody"], columns=COLUMNS, missing="raise"))
    with pytest.raises(Exception, match="did you mean i:jd"):
        read(archive.objects(ID, columns=["i:jdd"]))


def test_nested_light_curves_and_tensors_are_passed_on(archive: af.Archive) -> None:
    nested = archive.objects(ID, columns=["i:jd"]).nested()
    assert pl.DataFrame(nested)["lightcurve"].list.len().to_list() == [21]
    assert duckdb.sql("select len(lightcurve) from nested").fetchall() == [(21,)]
    stamps = archive.objects(ID, columns=["i:jd"], cutouts=["Science"], cutout_format="array")
    assert pa.table(stamps).schema.field(1).type == pa.fixed_shape_tensor(pa.float32(), (63, 63))


def test_an_array_is_refused_since_it_has_no_names(archive: af.Archive) -> None:
    answer = archive.objects(ID, columns=COLUMNS)
    for read in (np.asarray, pd.DataFrame):
        with pytest.raises(af.errors.NotSupported, match=r"use to_pandas\(\), to_arrow\(\) or.*pandas\.DataFrame\.from_arrow"):
            read(answer)


def test_a_frame_of_pandas_is_described_grouped_and_drawn(archive: af.Archive) -> None:
    mpl.use("Agg")
    frame = archive.objects([ID, UPPER], upper_limits=True).to_pandas()
    frame.describe()
    frame.describe(include="all")
    assert frame.groupby("i:fid")["i:magpsf"].mean().notna().all()
    numbers = frame.select_dtypes("number")
    assert len(numbers.columns) > 60
    for name in numbers.columns.drop("i:candid"):
        if numbers[name].dtype.kind == "f" or numbers[name].notna().all():
            plt.errorbar(frame["i:jd"], numbers[name], frame["i:sigmapsf"], fmt="o")
            plt.scatter(frame["i:jd"], numbers[name], c=numbers[name])
            plt.hist(numbers[name].dropna())
            plt.close()


def test_numbers_are_those_of_numpy_and_lose_no_digits() -> None:
    table = pa.table(
        {
            "id": ["a", None],
            "whole": pa.array([BIG, BIG + 1]),
            "holes": pa.array([BIG, None]),
            "unsigned": pa.array([2**64 - 1, None], pa.uint64()),
            "flag": pa.array([2**31 - 1, None], pa.int32()),
            "small": pa.array([1, 2], pa.int16()),
            "single": pa.array([1.5, None], pa.float32()),
            "double": pa.array([1.5, float("nan")]),
            "yes": [True, False],
            "maybe": [True, None],
            "list": [[BIG], [None]],
        }
    )
    frame = to_pandas(table)
    assert frame.columns.tolist() == table.column_names
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert kinds | {"id": ""} == {
        "id": "",
        "whole": "int64",
        "holes": "Int64",
        "unsigned": "UInt64",
        "flag": "float64",
        "small": "int16",
        "single": "float32",
        "double": "float64",
        "yes": "bool",
        "maybe": "boolean",
        "list": "list<item: int64>[pyarrow]",
    }
    assert frame["whole"].tolist() == [BIG, BIG + 1]
    assert (frame["holes"][0], frame["unsigned"][0], frame["list"][0][0]) == (BIG, 2**64 - 1, BIG)
    assert frame["flag"][0] == 2**31 - 1
    assert frame.isna().iloc[1].to_dict() == {name: name not in {"whole", "small", "yes", "list"} for name in table.column_names}
    exact = to_pandas(table, "arrow")
    assert all(isinstance(kind, pd.ArrowDtype) for kind in exact.dtypes)
    assert pa.Table.from_pandas(exact[["holes", "flag", "list"]]).equals(table.select(["holes", "flag", "list"]))
    assert np.isnan(exact["double"].array[1]), "NaN stays apart from null"
    assert exact["single"].array[1] is pd.NA
    with pytest.raises(af.errors.BadValue, match="types must be numpy or arrow"):
        to_pandas(table, "polars")


def buffers_of(array: pa.Array) -> list[tuple[pa.DataType, pa.Buffer]]:
    """Return the data buffers of an array, of its children and of its dictionary."""
    found = [(array.type, buffer) for buffer in array.buffers()[1:2] if buffer is not None] if array.type.num_fields == 0 else []
    if isinstance(array, pa.DictionaryArray):
        return [*buffers_of(array.indices), *buffers_of(array.dictionary)]
    if isinstance(array, pa.ListArray):
        return [(pa.int32(), array.buffers()[1]), *buffers_of(array.values)]
    if isinstance(array, pa.StructArray):
        return [one for number in range(array.type.num_fields) for one in buffers_of(array.field(number))]
    return found


def test_buffers_are_aligned_to_their_types(archive: af.Archive) -> None:
    for answer in (
        archive.all("ztf"),
        archive.all("ztf", compression="zstd"),
        archive.all("ztf", layout="nested", upper_limits=True),
        archive.exchange([ID, UPPER]),
    ):
        checked = 0
        for batch in answer:
            for column in batch.columns:
                for kind, buffer in buffers_of(column):
                    width = 4 if pa.types.is_string(kind) else kind.bit_width // 8 or 1
                    assert buffer.address % width == 0, kind
                    checked += width > 1
        assert checked > 100


def test_grouping_writes_no_warnings(archive: af.Archive, capfd: pytest.CaptureFixture[str]) -> None:
    table = archive.all("ztf").to_arrow()
    capfd.readouterr()
    table.group_by("i:objectId").aggregate([("i:magpsf", "min")])
    table.filter(pc.field("i:magpsf") < 18).join(table.select(["i:candid", "i:ra"]), "i:candid", right_suffix=" again")
    assert capfd.readouterr().err == ""
