"""An answer that resumes from a cursor has exactly the rows after it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from alert_data import MANY_AVRO, NEWEST, NIGHT, TDE
from archives import Answered, Opened, digest, messages
from hypothesis import given
from hypothesis import strategies as st
from store_faults import fill, open_archive, rename, write_changed, write_coincident

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.columns import Projection
from flight_server.planning.endpoints import endpoint_queries
from flight_server.planning.plan import Planner
from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import CursorMismatch
from flight_server.protocol.query import CUTOUT_KINDS, Query
from flight_server.settings import load_settings
from flight_server.simulate import simulate
from flight_server.storage.scans import Scan

TDE_NAME = "ZTF20abfcszi"


def opened_at(folder: Path) -> Opened:
    archive, store = open_archive(folder)
    return Opened(store, archive, load_settings(environment={}, data=str(folder)))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Opened]]:
    """The same kind of alerts in one segment and in many that overlap; some rows share time and object."""
    folder = tmp_path_factory.mktemp("resuming")
    curve = write_coincident(folder / "curve.parquet")
    fill(folder / "one", folder / "curve.parquet", NIGHT)
    one = opened_at(folder / "one")
    one.store.compact(full=True)
    fill(folder / "many", TDE, MANY_AVRO, curve, NIGHT, write_changed(folder / "changed", "AGN", swap=True), NEWEST)
    many = opened_at(folder / "many")
    yield {"one": one, "many": many}
    for opened in (one, many):
        opened.store.close()


@pytest.fixture(scope="module")
def names(stores: dict[str, Opened]) -> dict[str, list[str]]:
    """The objects of each store."""
    query = Query(table="ztf", all=True, columns=("i:objectId",))
    return {name: messages(opened, query).table[0].unique().to_pylist() for name, opened in stores.items()}


COLUMNS = ("i:objectId", "i:jd", "i:fid", "i:magpsf")
MOST_CURSORS = 30  # of one answer; of more, every second, third, ... is tried


@st.composite
def queries(draw: st.DrawFn, stores: dict[str, Opened], names: dict[str, list[str]]) -> tuple[Opened, Query]:
    name = draw(st.sampled_from(sorted(stores)))
    fields: dict[str, Any] = {"table": draw(st.sampled_from(["ztf", "ztf", "ztf.upper", "ztf.uppervalid"]))}
    if draw(st.booleans()):
        fields["all"] = True
    else:
        known = [TDE_NAME, *names[name]]
        some = draw(st.lists(st.sampled_from(known) | st.sampled_from(["nobody", "ZTF", "none"]), min_size=1, max_size=40))
        fields["ids"] = tuple(dict.fromkeys([*some, *some[:2]] if TDE_NAME in some else [*some, TDE_NAME]))
    fields["columns"] = COLUMNS[: draw(st.integers(1, 3 if fields["table"] == "ztf.upper" else 4))]
    # room for a row or two, or for some
    fields["max_message_bytes"] = 2_550 + 50 * len(fields["columns"]) + draw(st.sampled_from([0, 60, 500, 3_000]))
    if fields["table"] == "ztf":
        fields["upper_limits"] = draw(st.booleans())
        if draw(st.integers(0, 3)) == 0:
            fields["cutouts"] = tuple(draw(st.lists(st.sampled_from(CUTOUT_KINDS), min_size=1, max_size=2, unique=True)))
            fields["max_message_bytes"] = draw(st.sampled_from([60_000, 200_000]))
    if draw(st.booleans()):
        fields["start"] = draw(st.sampled_from([2459063.5, 2459080.0, 2459085.0]))
        fields["stop"] = draw(st.sampled_from([2459090.5, 2470000.0]))
    fields["limit"] = draw(st.none() | st.integers(1, 40))
    fields["digest"] = draw(st.booleans())
    return stores[name], Query(**fields)


def joined(*parts: Answered) -> pa.Table:
    return pa.concat_tables([part.table for part in parts])


def cursors(answered: Answered) -> Iterator[tuple[int, str]]:
    """Return the cursor of each data message with the number of rows up to it."""
    rows = 0
    for count, metadata in answered.messages:
        rows += count
        if "cursor" in metadata and "seq" in metadata:
            yield rows, metadata["cursor"]


def objects(rows: pa.Table) -> int:
    return len(set(rows["i:objectId"].to_pylist()))


@given(data=st.data())
def test_from_every_cursor_the_rest_comes_and_nothing_else(
    stores: dict[str, Opened], names: dict[str, list[str]], data: st.DataObject
) -> None:
    opened, query = data.draw(queries(stores, names))
    whole = messages(opened, query)
    places = list(cursors(whole))
    step = -(-len(places) // MOST_CURSORS) or 1
    for sent, cursor in places[data.draw(st.integers(0, step - 1)) :: step]:
        rest = messages(opened, replace(query, resume_after=cursor))
        assert digest(rest.table) == digest(whole.table.slice(sent))
        assert rest.record["rows"] == len(whole.table) - sent
        assert rest.record["objects"] == objects(rest.table)
        assert rest.missing == whole.missing
        for word in ("complete", "missing", "as_of", "cursor"):
            assert rest.record[word] == whole.record[word], word
        if query.digest:
            assert rest.record["digest"] == digest(rest.table)
        assert [metadata["seq"] for rows, metadata in rest.messages if rows] == list(range(len(list(cursors(rest)))))


@given(data=st.data())
def test_a_stream_that_breaks_again_and_again_loses_nothing(
    stores: dict[str, Opened], names: dict[str, list[str]], data: st.DataObject
) -> None:
    """Each answer is read for one or two messages only, then resumed from there."""
    opened, query = data.draw(queries(stores, names))
    whole = messages(opened, query)
    parts, now = [], query
    while True:
        part = messages(opened, now)
        places = list(cursors(part))
        if len(places) < 3:
            parts.append(part.table)
            break
        sent, cursor = places[data.draw(st.integers(0, 1))]
        parts.append(part.table.slice(0, sent))
        now = replace(query, resume_after=cursor)
    assert digest(pa.concat_tables(parts)) == digest(whole.table)
    assert part.missing == whole.missing
    assert part.record["complete"] == whole.record["complete"]


@given(data=st.data())
def test_pages_of_a_limit_make_the_whole(stores: dict[str, Opened], names: dict[str, list[str]], data: st.DataObject) -> None:
    opened, query = data.draw(queries(stores, names))
    whole = messages(opened, replace(query, limit=None))
    limit = data.draw(st.integers(max(1, len(whole.table) // 10), len(whole.table) + 1))
    page = messages(opened, replace(query, limit=limit))
    pages = [page]
    while not page.record["complete"]:
        assert len(page.table) == limit
        assert page.missing == []
        now = replace(query, limit=limit, resume_after=page.record["cursor"], as_of=page.record["as_of"])
        page = messages(opened, now)
        pages.append(page)
    assert digest(joined(*pages)) == digest(whole.table)
    assert page.missing == whole.missing
    assert len(pages) == max(1, -(-len(whole.table) // limit))


@pytest.mark.both_stores
def test_a_limit_counts_on_after_a_break_and_anew_on_a_new_page(sample: Opened) -> None:
    query = Query(table="ztf", ids=(TDE_NAME,), columns=COLUMNS, limit=8, max_message_bytes=2_450)
    whole = messages(sample, replace(query, limit=None)).table
    page = messages(sample, query)
    sent, cursor = next(cursors(page))
    assert 0 < sent < 8
    rest = messages(sample, replace(query, resume_after=cursor))
    assert rest.table.equals(whole.slice(sent, 8 - sent))
    assert rest.record["complete"] is False
    *_, (sent, cursor) = cursors(page)
    assert sent == 8
    nothing = messages(sample, replace(query, resume_after=cursor))
    assert (nothing.record["rows"], nothing.record["complete"]) == (0, False)
    for ended in (page, rest, nothing):
        following = messages(sample, replace(query, resume_after=ended.record["cursor"]))
        assert following.table.equals(whole.slice(8, 8))


def test_rows_that_share_object_and_key_are_told_apart(stores: dict[str, Opened]) -> None:
    query = Query(table="ztf", ids=(TDE_NAME,), columns=COLUMNS, upper_limits=True, max_message_bytes=2_600, digest=True)
    whole = messages(stores["one"], query)
    times = whole.table["i:jd"].to_pylist()
    assert len(times) - len(set(times)) >= 5
    between = {place for place in range(1, len(times)) if times[place] == times[place - 1]}
    assert len(between & {sent for sent, _ in cursors(whole)}) >= 5, "there are cursors between two that share a key"
    tags = whole.table["d:tag"].to_pylist()
    pairs = {(tags[n], tags[n + 1]) for n in range(len(times) - 1) if times[n] == times[n + 1]}
    assert pairs == {("valid", "upperlim"), ("badquality", "upperlim")}
    for sent, cursor in cursors(whole):
        rest = messages(stores["one"], replace(query, resume_after=cursor))
        assert rest.record["digest"] == digest(whole.table.slice(sent))


def test_a_cursor_of_another_query_is_refused(sample: Opened) -> None:
    query = Query(table="ztf", ids=(TDE_NAME, "nobody"), columns=("i:jd",))
    (_, cursor), *_ = cursors(messages(sample, query))
    changes: list[dict[str, Any]] = [
        {"table": "ztf.upper"},
        {"ids": ("nobody", TDE_NAME)},
        {"ids": None, "all": True},
        {"columns": ("i:fid",)},
        {"limit": 5},
        {"start": 2459000.5},
        {"upper_limits": True},
        {"cutouts": ("Science",)},
        {"compression": "lz4"},
    ]
    for change in changes:
        with pytest.raises(CursorMismatch) as caught:
            sample.archive.answer(replace(query, resume_after=cursor, **change), Caller())
        assert caught.value.field == "resume_after"
    rest = messages(sample, replace(query, resume_after=cursor, as_of=4_000_000_000_000))
    assert (rest.record["rows"], rest.missing, rest.record["as_of"]) == (0, ["nobody"], 4_000_000_000_000)


def test_missing_ids_before_the_cursor_are_told_whatever_makes_them_missing(stores: dict[str, Opened]) -> None:
    opened = stores["many"]
    night = messages(opened, Query(table="ztf", all=True, columns=("i:objectId", "i:jd"), start=2459800.5)).table
    others = list(dict.fromkeys(night["i:objectId"].to_pylist()))[:20]
    before = min(night["i:jd"].to_pylist())  # then some have upper limits only
    for bounds in ({}, {"start": 2459063.5, "stop": 2459100.5}, {"stop": before}):
        for upper_limits in (False, True):
            query = Query(
                table="ztf",
                ids=("none", *others[:10], "nobody", TDE_NAME, *others[10:], "nil"),
                columns=("i:objectId", "i:jd"),
                upper_limits=upper_limits,
                max_message_bytes=2_560,
                **bounds,
            )
            whole = messages(opened, query)
            assert {"none", "nobody", "nil"} <= set(whole.missing)
            assert (len(whole.missing) > 3) == bool(bounds)
            for sent, cursor in cursors(whole):
                rest = messages(opened, replace(query, resume_after=cursor))
                assert rest.missing == whole.missing
                assert rest.record["missing"] == whole.record["missing"]
                assert rest.record["objects"] == objects(whole.table.slice(sent))


def test_rows_that_arrived_meanwhile_come_only_if_asked_for(tmp_path: Path) -> None:
    opened = opened_at(fill(tmp_path / "store", NIGHT))
    query = Query(table="ztf", all=True, columns=("i:objectId", "i:jd"), max_message_bytes=2_600)
    before = messages(opened, query)
    places = list(cursors(before))
    assert len(places) > 5
    fill(tmp_path / "store", TDE)
    opened.store.close()
    opened = opened_at(tmp_path / "store")
    now = messages(opened, query).record["as_of"]
    for sent, cursor in places:
        rest = messages(opened, replace(query, resume_after=cursor))
        assert digest(rest.table) == digest(before.table.slice(sent))
        assert rest.record["as_of"] == before.record["as_of"]
        last = before.table["i:objectId"][sent - 1].as_py()
        later = messages(opened, replace(query, resume_after=cursor, as_of=now))
        assert len(later.table) == 67 - sent + (21 if last < TDE_NAME else 0)
    opened.store.close()


@pytest.mark.both_stores
def test_a_query_that_goes_on_is_one_endpoint(sample: Opened) -> None:
    ids = (*(f"none{number}" for number in range(2500)), TDE_NAME)
    query = Query(table="ztf", ids=ids, columns=("i:jd",))
    (_, cursor), *_ = cursors(messages(sample, query))
    assert len(list(endpoint_queries(query))) == 3
    assert list(endpoint_queries(replace(query, resume_after=cursor))) == [replace(query, resume_after=cursor)]
    plan = Planner(sample.archive.catalog()).plan(replace(query, resume_after=cursor))
    assert sample.archive.count(plan) is None


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    for seed in range(3):
        simulate(folder / f"{seed}", objects=200, nights=1, seed=seed, alerts_each=10)
        rename(folder / f"{seed}", seed)
    return fill(folder / "store", *(folder / f"{seed}" for seed in range(3)))


@pytest.fixture(scope="module", params=["one", "many"])
def large(request: pytest.FixtureRequest, three: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """Six thousand rows in one segment or three."""
    opened = opened_at(Path(shutil.copytree(three, tmp_path_factory.mktemp("large") / "store")))
    if request.param == "one":
        opened.store.compact(full=True)
    yield opened
    opened.store.close()


@given(data=st.data())
def test_a_scan_after_a_key_gives_all_keys_behind_it(large: Opened, data: st.DataObject) -> None:
    catalog = load_catalog()
    scan = Scan(table=catalog.table("ztf"), columns=Projection([catalog.known["ztf"]["i:jd"]]))
    view = large.store.view()
    whole = np.concatenate([rows.keys for rows in view.scan(scan)])
    assert len(whole) == 6000
    place = data.draw(st.sampled_from([0, 1, 999, 1000, 1001, 1999, 2000, 5998, 5999]) | st.integers(0, 5999))
    key = bytes(whole[place])
    after = data.draw(st.sampled_from([key, key[:-1], key + b"0", key + b"x" * 5000, key[:5], b"A", b"~", key + b"\0"]))
    found = [rows.keys for rows in view.scan(replace(scan, after=after))]
    expected = [one for one in whole.tolist() if one > after.rstrip(b"\0")]
    assert (np.concatenate(found).tolist() if found else []) == expected
