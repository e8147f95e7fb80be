"""Object IDs as users hold them: scalars, texts, sets, generators, bytes, frames; and rows without an ID."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from astropy.table import MaskedColumn, Table

import flight_client as af
from flight_client.object_ids import id_list
from flight_server.flight import FlightServer

FIRST, SECOND = IDS = ["ZTF20abfcszi", "ZTF18abadigg"]
BIG = 170587115523932323
JD = {"columns": ["i:objectId", "i:jd"]}


@pytest.fixture
def archive(server: FlightServer) -> af.Archive:
    return af.connect(f"grpc://127.0.0.1:{server.port}")


@pytest.mark.parametrize(
    "one",
    [FIRST, np.str_(FIRST), np.array(FIRST), FIRST.encode(), np.bytes_(FIRST), pa.scalar(FIRST), pd.Series([FIRST])[0]],
    ids=lambda one: type(one).__name__,
)
def test_one_id_is_one_id(archive: af.Archive, one: Any) -> None:
    assert archive.objects(one).query.ids == (FIRST,)
    assert set(archive.exchange(one, **JD).to_arrow()["index"].to_pylist()) == {0}


@pytest.mark.parametrize("one", [BIG, np.int64(BIG), np.uint64(BIG), np.array(BIG), pa.scalar(BIG)])
def test_one_number_is_one_id(one: Any) -> None:
    assert id_list(one).ids == [BIG]


@pytest.mark.parametrize(
    "many",
    [
        (one for one in IDS),
        dict.fromkeys(IDS).keys(),
        dict(enumerate(IDS)).values(),
        map(str, IDS),
        np.array(IDS, dtype="S12"),
        np.array(IDS, dtype=object),
        pd.Index(IDS),
        pd.Categorical(IDS),
        pd.Series(IDS, dtype=pd.ArrowDtype(pa.string())).unique(),
        pl.Series(IDS, dtype=pl.Categorical),
        pa.array(IDS).dictionary_encode(),
        pa.array(IDS, pa.large_string()),
        Table({"id": IDS})["id"],
        Table({"id": [one.encode() for one in IDS]})["id"],
        [pa.scalar(one) for one in IDS],
        [np.str_(FIRST), SECOND.encode()],
    ],
    ids=lambda many: type(many).__name__,
)
def test_many_ids_in_their_order(many: Any) -> None:
    assert id_list(many).ids == IDS


def test_a_set_has_the_same_order_every_time() -> None:
    assert id_list(set(IDS)).ids == id_list(frozenset(IDS)).ids == sorted(IDS)
    assert id_list({10, 9, 101}).ids == [9, 10, 101]


@pytest.mark.parametrize("text", [",".join(IDS), ", ".join(IDS), "; ".join(IDS), "\n".join(IDS), "\t".join(IDS), " ".join(IDS)])
def test_a_text_of_several_ids_is_refused_with_the_list_to_write(archive: af.Archive, text: str) -> None:
    for ask in (archive.objects, archive.exchange):
        with pytest.raises(af.errors.BadValue, match=r'give a list, \["ZTF20abfcszi", "ZTF18abadigg"\]') as caught:
            ask(text)
        assert caught.value.field == "ids"


def test_a_text_of_several_ids_in_a_list_is_refused_with_its_row() -> None:
    with pytest.raises(af.errors.BadValue, match="in row 1 is one text"):
        id_list([FIRST, "A,B"])
    with pytest.raises(af.errors.BadValue, match="in row 0 is one text"):
        id_list(["ZTF20abfcszi\n"])


@pytest.mark.parametrize("field", ["columns", "cutouts"])
def test_names_in_one_text_are_refused_with_the_list_to_write(archive: af.Archive, field: str) -> None:
    for given in ("A,B", ["A,B"], np.str_("A,B")):
        with pytest.raises(af.errors.BadValue, match=r'give a list, \["A", "B"\]') as caught:
            archive.objects(FIRST, **{field: given})
        assert caught.value.field == field


FRAMES: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "lazy": pl.LazyFrame,
    "arrow": pa.table,
    "batch": pa.record_batch,
    "reader": lambda columns: pa.table(columns).to_reader(),
    "astropy": Table,
    "dict": dict,
    "numpy": lambda columns: pd.DataFrame(columns).to_records(index=False),
    "duckdb": lambda columns: duckdb.from_arrow(pa.table(columns)),
    "pandas index": lambda columns: pd.DataFrame(columns).set_index(next(name for name in columns if "objectId" in name)),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_frame_is_asked_for_the_id_column_of_the_table(archive: af.Archive, frame: Callable[..., Any]) -> None:
    for name in ("i:objectId", "objectId"):
        answer = archive.objects(frame({"ra": [1.0, 2.0], name: IDS}))
        assert answer.query.ids == tuple(IDS)
        assert answer.notes == (f"the IDs are those of the {'index' if name not in _columns(frame, name) else 'column'} {name}",)
    exchange = archive.exchange(frame({"ra": [1.0, 2.0], "i:objectId": IDS}), **JD)
    assert set(exchange.to_arrow()["i:objectId"].to_pylist()) == set(IDS)
    assert len(exchange.notes) == 1


def _columns(frame: Callable[..., Any], name: str) -> list[str]:
    made = frame({"ra": [1.0], name: ["a"]})
    return list(made.columns) if isinstance(made, pd.DataFrame) else [name]


@pytest.mark.parametrize("frame", [made for kind, made in FRAMES.items() if kind != "pandas index"])
def test_a_frame_without_the_id_column_is_refused_with_its_columns(archive: af.Archive, frame: Callable[..., Any]) -> None:
    for ask in (archive.objects, archive.exchange):
        with pytest.raises(af.errors.BadValue, match=r"ra, name: none is i:objectId; give one of them") as caught:
            ask(frame({"ra": [1.0, 2.0], "name": IDS}))
        assert caught.value.field == "ids"


def test_an_answer_has_ids_for_another(archive: af.Archive) -> None:
    cone = archive.cone(7.80625, 85.0089, radius=5, columns=["i:objectId", "i:jd"])
    curves = archive.objects(cone, **JD)
    assert curves.query.ids == (FIRST,)
    assert curves.notes[0] == "the IDs are those of the column i:objectId"


def test_repeated_ids_are_noted_with_their_rows(archive: af.Archive) -> None:
    answer = archive.objects([FIRST, SECOND, FIRST, FIRST])
    assert answer.query.ids == (FIRST, SECOND)
    text = f"row 2 ({FIRST}) repeats row 0, row 3 ({FIRST}) repeats row 0"
    assert answer.notes == (f"2 rows repeat IDs and are answered with the first: {text}",)


@pytest.mark.parametrize(
    "nothing", [None, float("nan"), np.nan, np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), np.ma.masked, "", "  ", b""]
)
def test_a_row_without_an_id_is_named_or_skipped(archive: af.Archive, nothing: object) -> None:
    given = [FIRST, nothing, SECOND, nothing]
    with pytest.raises(af.errors.BadValue, match=r'row 1 of ids has no ID.*bad="skip"') as caught:
        archive.objects(given)
    assert (caught.value.field, caught.value.value) == ("ids", "1")
    with pytest.warns(UserWarning, match="2 rows of ids skipped: row 1 has no ID") as warned:
        answer = archive.objects(given, bad="skip", **JD)
    assert warned[0].filename == __file__
    assert answer.query.ids == tuple(IDS)
    assert "2 rows of ids skipped" in answer.notes[0]
    answer.to_arrow()
    assert answer.record is not None
    assert answer.record.skipped == [1, 3]
    exchange = archive.exchange(iter(given), bad="skip", **JD)
    with pytest.warns(UserWarning, match="2 rows of ids skipped"):
        rows = exchange.to_arrow()
    assert set(zip(rows["index"].to_pylist(), rows["i:objectId"].to_pylist(), strict=True)) == {(0, FIRST), (2, SECOND)}
    assert exchange.record is not None
    assert exchange.record.skipped == [1, 3]
    with pytest.raises(af.errors.BadValue, match="row 1 of ids"):
        archive.exchange(given).to_arrow()


def test_masked_ids_are_not_what_is_behind_the_mask() -> None:
    for masked in (np.ma.array([BIG, 7], mask=[0, 1]), MaskedColumn([BIG, 7], mask=[False, True])):
        with pytest.raises(af.errors.BadValue, match="row 1 of ids has no ID"):
            id_list(masked)


@pytest.mark.parametrize(
    "wrong", [[1.5], [True], np.array([True]), [[FIRST]], [(FIRST,)], [{"a": 1}], [object()], 7.5, True, [b"\xff"]]
)
def test_what_is_no_id_is_refused(wrong: Any) -> None:
    with pytest.raises(af.errors.BadValue) as caught:
        id_list(wrong)
    assert caught.value.field == "ids"
    assert "bad=" not in caught.value.message, "the mistake is not in single rows"


def test_no_ids_are_answered_with_no_rows_and_said(archive: af.Archive) -> None:
    for nothing in ([], np.array([], dtype=str), pd.Series([], dtype=str), pd.DataFrame({"i:objectId": []}), iter(()), set()):
        with pytest.warns(UserWarning, match="the input is empty, so the answer has no rows"):
            answer = archive.objects(nothing, upper_limits=True, limit=3, **JD)
        assert answer.to_arrow().schema.names == ["i:objectId", "i:jd", "d:tag"]
        assert answer.record is not None
        assert (len(answer.to_arrow()), answer.missing, answer.record.complete) == (0, [], True)
        assert answer.plan().endpoints == ()
        assert answer.nested().to_arrow().schema.names == ["i:objectId", "lightcurve"]
        exchange = archive.exchange(nothing, **JD)
        with pytest.warns(UserWarning, match="the input is empty"):
            assert exchange.to_arrow().schema.names == ["index", "i:objectId", "i:jd"]
    with pytest.raises(af.errors.InvalidTicket, match="exactly one selection"):
        archive.select(ids=[], all=True)


@pytest.mark.parametrize(
    ("fields", "plain"),
    [
        ({"limit": np.int64(5)}, {"limit": 5}),
        ({"limit": np.array(5)}, {"limit": 5}),
        ({"limit": pa.scalar(5)}, {"limit": 5}),
        ({"limit": pd.Series([5], dtype="Int64").max()}, {"limit": 5}),
        ({"limit_objects": np.uint8(2)}, {"limit_objects": 2}),
        ({"upper_limits": np.bool_(True)}, {"upper_limits": True}),
        ({"digest": np.array(True)}, {"digest": True}),
        ({"layout": np.str_("nested")}, {"layout": "nested"}),
        ({"columns": np.array(["i:jd", "i:fid"])}, {"columns": ["i:jd", "i:fid"]}),
        ({"columns": pd.Index(["i:jd", "i:fid"])}, {"columns": ["i:jd", "i:fid"]}),
        ({"columns": pl.Series(["i:jd"])}, {"columns": ["i:jd"]}),
        ({"columns": pa.array(["i:jd"])}, {"columns": ["i:jd"]}),
        ({"columns": (name for name in ["i:jd", "i:fid"])}, {"columns": ["i:jd", "i:fid"]}),
        ({"columns": {"i:jd": 1, "i:fid": 2}.keys()}, {"columns": ["i:jd", "i:fid"]}),
        ({"columns": {"i:jd", "i:fid"}}, {"columns": ["i:fid", "i:jd"]}),
        ({"columns": np.str_("i:jd")}, {"columns": ["i:jd"]}),
    ],
)
def test_values_of_numpy_and_others_are_those_of_python(
    archive: af.Archive, fields: dict[str, Any], plain: dict[str, Any]
) -> None:
    query = archive.objects(FIRST, **fields).query
    assert query == archive.objects(FIRST, **plain).query
    json.dumps(query.to_dict())


def test_plans_and_changed_answers_take_them_too(archive: af.Archive) -> None:
    fields = {"table": np.str_("ztf"), "ids": np.array(IDS), "columns": pd.Index(["i:jd"]), "limit": np.int64(5)}
    (endpoint,) = af.plan(archive.url, fields).endpoints
    planned = json.loads(endpoint.ticket)
    assert {name: planned[name] for name in fields} == {"table": "ztf", "ids": IDS, "columns": ["i:jd"], "limit": 5}
    changed = archive.objects(IDS).changed(limit=np.int64(5), columns=["i:jd"], upper_limits=np.bool_(False))
    assert changed.query == archive.objects(IDS, columns=["i:jd"], limit=5).query
    assert len(changed.to_arrow()) == 5
    with pytest.raises(af.errors.BadValue, match="limit cannot be"):
        af.plan(archive.url, {"table": "ztf", "all": True, "limit": object()})


def test_a_cone_takes_scalars_of_numpy(archive: af.Archive) -> None:
    cone = {"ra": np.float32(7.5), "dec": np.int64(85), "radius": np.array(5)}
    assert archive.select(cone=cone).query == archive.cone(7.5, 85, radius=5).query


@pytest.mark.parametrize(
    "wrong", [pd.NA, pd.NaT, np.datetime64("2020-08-25"), object(), 3 + 4j, np.float64("nan"), np.array([1, 2]), "5"]
)
def test_other_values_are_refused_by_field(archive: af.Archive, wrong: object) -> None:
    with pytest.raises(af.errors.BadValue) as caught:
        archive.objects(FIRST, limit=wrong)
    assert caught.value.field == "limit"


def test_bad_is_one_of_two(archive: af.Archive) -> None:
    with pytest.raises(af.errors.BadValue, match="bad must be raise or skip, not 'ignore'"):
        archive.objects(FIRST, bad="ignore")
