"""A column that the catalog does not type widens with what comes in, in any order, and no value changes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from alert_data import TDE
from archives import Opened, messages, open_embedded
from changed_alerts import STAMPS, alerts_of, saved, with_candidates, with_fields
from store_faults import Runner, fill
from widening_columns import NAN, PAIRS, TYPES, Value, as_type, column, joined, night, spelled, write

from flight_server.catalog.catalog import load_catalog
from flight_server.ingest import ingest, load
from flight_server.protocol.errors import BadValue
from flight_server.protocol.query import Query
from flight_server.storage.embedded import verify_folder

Store = Callable[..., Opened]
# on HBase: cells of other lengths, of the same length, text, what cannot be
SOME = [PAIRS.index(pair) for pair in (("bool", "int32"), ("int32", "float"), ("int64", "double"), ("double", "int64"))]
SOME += [PAIRS.index(pair) for pair in (("string", "double"), ("int32", "string"), ("bool", "double"))]


def scores(opened: Opened, **fields: Any) -> tuple[pa.DataType, dict[int, Any]]:
    """Return the type of the column, and its values by alert."""
    query = Query(**{"table": "ztf", "columns": ("i:objectId", "i:candid", "d:score"), "all": "ids" not in fields, **fields})
    found = messages(opened, query).table
    kind = found.schema.field("d:score").type
    return kind, {row["i:candid"]: spelled(row["d:score"], str(kind)) for row in found.to_pylist()}


def expected(alerts: pa.Table, kind: str, wide: str, values: list[Value] | None = None) -> dict[int, Any]:
    held = column(kind, len(alerts), values).to_pylist()
    candids = alerts["candid"].to_pylist()
    name = str(TYPES[wide])
    return {candid: spelled(as_type(value, wide), name) for candid, value in zip(candids, held, strict=True)}


@pytest.fixture(scope="module")
def halves() -> tuple[pa.Table, pa.Table]:
    return night(0, 2), night(1, 2)


@pytest.mark.deep(after=5)
@pytest.mark.both_stores(*SOME)
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_every_pair_of_types_in_both_orders(
    first: str, second: str, halves: tuple[pa.Table, pa.Table], open_store: Store, tmp_path: Path
) -> None:
    one, other = halves
    files = [write(tmp_path / "a.parquet", one, first), write(tmp_path / "b.parquet", other, second)]
    ids = tuple(one["objectId"].to_pylist() + other["objectId"].to_pylist())[::-1]

    apart = open_store("apart")
    assert not apart.ingest(files[0]).failures
    before, moment = apart.store.view(), apart.store.view().as_of
    old = scores(apart)
    assert old == (TYPES[first], expected(one, first, first))
    report = apart.ingest(files[1])
    if second == "string" and first != "string":
        reason = report.failures[files[1]]
        assert "column d:score, row 0: 'x' is text, but the column holds numbers" in reason
        assert "rename the column in the file" in reason
        assert scores(apart) == old
    else:
        assert not report.failures
        wide = "string" if first == "string" else joined(first, second)
        whole = TYPES[wide], expected(one, first, wide) | expected(other, second, wide)
        assert scores(apart) == whole
        assert scores(apart, ids=ids) == whole
        assert scores(open_store("apart")) == whole, "the type is in the store"
        (kind, found) = scores(apart, as_of=moment)
        assert kind == TYPES[wide]
        assert found == expected(one, first, wide)
        if not apart.store.is_remote:
            assert before.columns["ztf"]["d:score"] == TYPES[first]
            apart.store.compact(full=True)
            assert scores(apart) == whole
            assert scores(apart, ids=ids) == whole

    kind = TYPES[joined(first, second)]
    for name, order in (("together", files), ("reversed", files[::-1])):
        both = open_store(name)
        assert not both.ingest(*order).failures
        assert scores(both) == (
            kind,
            expected(one, first, joined(first, second)) | expected(other, second, joined(first, second)),
        )


BIG = 2**53 + 1  # the first integer that a double does not represent


@pytest.mark.both_stores
def test_a_long_that_a_double_cannot_hold_is_not_rounded(
    halves: tuple[pa.Table, pa.Table], open_store: Store, tmp_path: Path
) -> None:
    one, other = halves
    big = write(tmp_path / "big.parquet", one, "int64", [BIG, None, 3])
    fractions = write(tmp_path / "fractions.parquet", other, "double", [2.0, 0.5])
    whole = write(tmp_path / "whole.parquet", other, "double", [2.0, -7.0, None])
    held = expected(one, "int64", "int64", [BIG, None, 3])

    opened = open_store("big first")
    opened.ingest(big)
    reason = opened.ingest(fractions).failures[fractions]
    assert reason.startswith("column d:score, row 1: '0.5' does not fit into int64, and no type holds it and the other values")
    assert "rename the column in the file" in reason
    assert scores(opened) == (pa.int64(), held)
    assert not opened.ingest(whole).failures, "whole numbers are integers as well"
    assert scores(opened) == (pa.int64(), held | expected(other, "int64", "int64", [2, -7, None]))

    opened = open_store("fractions first")
    opened.ingest(fractions)
    assert f"'{BIG}' does not fit into double" in opened.ingest(big).failures[big]
    assert scores(opened) == (pa.float64(), expected(other, "double", "double", [2.0, 0.5]))

    for name, files in (("together", (big, fractions)), ("reversed", (fractions, big))):
        opened = open_store(name)
        assert list(opened.ingest(*files).failures) == [big]
        assert scores(opened) == (pa.float64(), expected(other, "double", "double", [2.0, 0.5]))


def test_replaced_rows_are_looked_at_too(halves: tuple[pa.Table, pa.Table], open_store: Store, tmp_path: Path) -> None:
    one, other = halves
    opened = open_store()
    opened.ingest(write(tmp_path / "a.parquet", one, "int64", [BIG]))
    moment = opened.store.view().as_of
    opened.ingest(write(tmp_path / "b.parquet", one, "int64", [1]))
    fractions = write(tmp_path / "c.parquet", other, "double", [0.5])
    assert opened.ingest(fractions).failures, "as_of still reads the first value"
    assert scores(opened, as_of=moment)[1] == expected(one, "int64", "int64", [BIG])
    opened.store.compact(full=True)
    assert not opened.ingest(fractions).failures
    assert scores(opened)[1] == expected(one, "double", "double", [1.0]) | expected(other, "double", "double", [0.5])


@pytest.mark.both_stores
def test_a_column_of_nulls_has_no_say(halves: tuple[pa.Table, pa.Table], open_store: Store, tmp_path: Path) -> None:
    one, other = halves
    nulls = [write(tmp_path / f"{kind}.parquet", one, kind, [None]) for kind in ("double", "string", "bool")]
    values = write(tmp_path / "values.parquet", other, "int64", [BIG, 1])
    found = expected(other, "int64", "int64", [BIG, 1])
    nothing = expected(one, "int64", "int64", [None])
    opened = open_store("first")
    assert not opened.ingest(*nulls).failures
    assert "d:score" not in opened.store.view().columns["ztf"]
    assert not opened.ingest(values).failures
    assert not opened.ingest(*nulls).failures
    assert scores(opened) == (pa.int64(), found | nothing)
    for name, files in (("together", (values, *nulls)), ("reversed", (*nulls, values))):
        opened = open_store(name)
        assert not opened.ingest(*files).failures
        assert scores(opened) == (pa.int64(), found | nothing)


def test_an_upload_widens_too(halves: tuple[pa.Table, pa.Table], open_store: Store, tmp_path: Path) -> None:
    one, other = halves
    opened = open_store()
    opened.ingest(write(tmp_path / "a.parquet", one, "int32", [2**24 + 1]))

    def put(kind: str, values: list[Value]) -> None:
        alerts = with_fields(other, score=column(kind, len(other), values))
        upload = opened.archive.upload("ztf", alerts.schema)
        try:
            for batch in alerts.to_batches(max_chunksize=10):
                upload.add(batch)
            upload.commit()
        finally:
            upload.close()

    put("string", [None])
    put("float", [0.5, None])
    wide = pa.float64(), expected(one, "int32", "double", [2**24 + 1]) | expected(other, "double", "double", [0.5, None])
    assert scores(opened) == wide
    with pytest.raises(BadValue, match="column d:score, row 0: 'x' is text"):
        put("string", ["x"])
    with pytest.raises(BadValue, match=f"'{BIG}' does not fit into double"):
        put("int64", [BIG])
    assert scores(opened) == wide


def test_loaded_columns_widen_too(open_store: Store, tmp_path: Path) -> None:
    opened = open_store()
    files = {}
    for name, kind, values in (("a", "int32", [7]), ("b", "double", [0.1]), ("c", "string", ["x"]), ("d", "float", [None])):
        rows = {"d:ssoCandId": pa.array([name]), "d:jd": pa.array([2459000.5]), "d:extra": pa.array(values, TYPES[kind])}
        files[name] = saved(pa.table(rows), tmp_path / f"{name}.parquet")

    def loaded(opened: Opened) -> tuple[pa.DataType, list[Value]]:
        query = Query(table="ztf.sso_cand", columns=("d:ssoCandId", "d:extra"), all=True)
        found = messages(opened, query).table.sort_by("d:ssoCandId")
        return found.schema.field("d:extra").type, found["d:extra"].to_pylist()

    for name in "dab":
        load(opened.store, load_catalog(), "ztf.sso_cand", [files[name]])
    assert loaded(opened) == (pa.float64(), [7.0, 0.1, None])
    with pytest.raises(BadValue, match=r"c\.parquet: column d:extra, row 0: 'x' is text"):
        load(opened.store, load_catalog(), "ztf.sso_cand", [files["c"]])
    assert loaded(opened) == (pa.float64(), [7.0, 0.1, None])
    for number, order in enumerate(("abc", "cba")):
        other = open_store(f"together {number}")
        load(other.store, load_catalog(), "ztf.sso_cand", [files[name] for name in order])
        assert loaded(other) == (pa.string(), ["7", "0.1", "x"])


def test_a_declared_type_stays_and_lost_digits_are_told(
    halves: tuple[pa.Table, pa.Table], open_store: Store, tmp_path: Path
) -> None:
    one, _ = halves
    opened = open_store()
    exact = [17.25, 18.4, None, NAN, 1e30]
    places = [number % len(exact) for number in range(len(one))]
    alerts = with_candidates(one, magpsf=pa.array([exact[place] for place in places], pa.float64()))
    report = opened.ingest(saved(alerts, tmp_path / "a.parquet"))
    assert not report.rounded, "float32 keeps the decimal digits of all of these"
    many = with_candidates(one, magpsf=pa.array([17.123456789, 18.4] * (len(one) // 2 + 1), pa.float64())[: len(one)])
    report = opened.ingest(saved(many, tmp_path / "b.parquet"))
    assert dict(report.rounded) == {"i:magpsf": (len(one) + 1) // 2}
    found = messages(opened, Query(table="ztf", columns=("i:magpsf",), all=True)).table
    assert found.schema.field("i:magpsf").type == pa.float32()
    large = with_candidates(one, fid=pa.array([2**31] * len(one), pa.int64()))
    file = saved(large, tmp_path / "c.parquet")
    assert "column i:fid, row 0: '2147483648' does not fit into int32" in opened.ingest(file).failures[file]


def test_points_of_histories_widen_with_the_alerts(open_store: Store, tmp_path: Path) -> None:
    alerts = with_fields(alerts_of(TDE), **dict.fromkeys(STAMPS))
    opened = open_store()
    files = []
    for name, rows, kind, value in (("a", slice(0, 10), pa.int32(), 5), ("b", slice(10, 21), pa.float64(), 0.5)):
        part = alerts.take(pa.array(range(*rows.indices(21))))
        lists = part["prv_candidates"].combine_chunks()
        points = lists.values
        fields = {field.name: points.field(field.name) for field in points.type}
        fields["newfield"] = pa.array([value] * len(points), kind)
        made = pa.StructArray.from_arrays(list(fields.values()), names=list(fields), mask=points.is_null())
        lists = pa.ListArray.from_arrays(lists.offsets, made, mask=lists.is_null())
        files.append(saved(with_fields(part, prv_candidates=lists), tmp_path / f"{name}.parquet"))
    for file in files:
        report = ingest(opened.store, load_catalog(), [file], history=True)
        assert not report.failures
    both = open_store("both")
    assert not ingest(both.store, load_catalog(), files, history=True).failures
    # the second file has all points of the first again
    for one, values in ((opened, {0.5}), (both, {5.0, 0.5})):
        found = messages(one, Query(table="ztf", columns=("i:newfield",), all=True)).table["i:newfield"]
        assert found.type == pa.float64()
        assert set(found.drop_null().to_pylist()) == values


def test_a_cursor_from_before_goes_on_exactly(halves: tuple[pa.Table, pa.Table], open_store: Store, tmp_path: Path) -> None:
    one, other = halves
    opened = open_store()
    opened.ingest(write(tmp_path / "a.parquet", one, "int32"))
    query = Query(table="ztf", columns=("i:candid", "d:score"), all=True, limit=9)
    first = messages(opened, query)
    opened.ingest(write(tmp_path / "b.parquet", other, "double"))
    rest = messages(opened, replace(query, limit=9, resume_after=first.record["cursor"], as_of=first.record["as_of"]))
    whole = messages(opened, Query(table="ztf", columns=query.columns, all=True, limit=18, as_of=first.record["as_of"]))
    found = first.table.to_pylist() + rest.table.to_pylist()
    assert found == whole.table.to_pylist(), "the numbers are equal, whatever their type"
    assert rest.table.schema.field("d:score").type == pa.float64()


def test_an_interrupted_widening_is_none(run: Runner, halves: tuple[pa.Table, pa.Table], tmp_path: Path) -> None:
    one, other = halves
    files = [write(tmp_path / "a.parquet", one, "int32"), write(tmp_path / "b.parquet", other, "double")]
    folder = tmp_path / "store"
    fill(folder, files[0])
    for point in ("segment.keys", "commit.before", "commit.inside"):
        assert run(("ingest", files[1]), folder, inject=f"{point}:kill:1").returncode == -signal.SIGKILL
        opened = open_embedded(folder)
        assert scores(opened) == (pa.int32(), expected(one, "int32", "int32"))
        opened.store.close()
    fill(folder, files[1])
    opened = open_embedded(folder)
    assert scores(opened) == (pa.float64(), expected(one, "int32", "double") | expected(other, "double", "double"))
    opened.store.close()
    assert not list(verify_folder(folder))
