"""`as_of` returns the state at a moment: that of a store with only the files ingested until then."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import MANY_AVRO, NIGHT, TDE
from archives import Answered, Opened, digest, messages
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from store_faults import EMBEDDED, fill, open_archive, rename, write_changed, write_coincident

from flight_server.catalog.catalog import Catalog, load_catalog
from flight_server.planning.plan import Planner
from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import BadValue, NotSupported
from flight_server.protocol.query import CUTOUT_KINDS, Query
from flight_server.settings import load_settings
from flight_server.simulate import simulate
from flight_server.storage.embedded import compaction

TDE_NAME = "ZTF20abfcszi"
COLUMNS = ("i:objectId", "i:jd", "i:magpsf", "d:cdsxmatch")
FUTURE = 9_000_000_000_000
# the ingests below that write the rows of one object anew
REWRITING = (0, 2, 4, 5)


@dataclass(frozen=True)
class History:
    """A store of several ingests, the time of each, and for each a store that ends with it."""

    folder: Path
    moments: list[int]
    until: list[Opened]
    newest: Opened
    answers: dict[tuple[int, Query], Answered] = field(default_factory=dict)  # of the stores that ended then


def opened_at(folder: Path) -> Opened:
    archive, store = open_archive(folder)
    return Opened(store, archive, load_settings(environment={}, data=str(folder)))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    folder = tmp_path_factory.mktemp("history")
    part = pq.read_table(write_changed(folder / "part.parquet", "Star", swap=True)).slice(0, 9)
    pq.write_table(part, folder / "part.parquet")
    files = [
        TDE,
        NIGHT,
        write_changed(folder / "1.parquet", "AGN", swap=True),
        MANY_AVRO,
        folder / "part.parquet",
        write_coincident(folder / "curve.parquet"),
    ]
    moments = []
    until = []
    for number, file in enumerate(files):
        fill(folder / "store", file)
        shutil.copytree(folder / "store", folder / f"until{number}")
        until.append(opened_at(folder / f"until{number}"))
        moments.append(until[-1].store.view().as_of)
    newest = opened_at(folder / "store")
    yield History(folder / "store", moments, until, newest)
    for opened in (*until, newest):
        opened.store.close()


def expected(history: History, query: Query, as_of: int) -> Answered | None:
    """Return the answer of the store that ended at that moment; None if nothing was written yet."""
    last = sum(moment <= as_of for moment in history.moments) - 1
    if last < 0:
        return None
    if (last, query) not in history.answers:
        history.answers[last, query] = messages(history.until[last], query)
    return history.answers[last, query]


def check(history: History, opened: Opened, query: Query, as_of: int) -> None:
    found = messages(opened, replace(query, as_of=as_of))
    wanted = expected(history, query, as_of)
    assert found.record["as_of"] == as_of
    if wanted is None:
        assert len(found.table) == 0
        assert found.missing == list(query.ids or ())
        return
    assert digest(found.table) == digest(wanted.table)
    for word in ("complete", "rows", "objects", "missing", "missing_cutouts"):
        assert found.record[word] == wanted.record[word], word
    assert found.missing == wanted.missing


@st.composite
def queries(draw: st.DrawFn) -> Query:
    fields: dict[str, Any] = {"table": draw(st.sampled_from(["ztf", "ztf", "ztf.upper", "ztf.uppervalid", "ztf.cutouts"]))}
    if draw(st.booleans()):
        fields["all"] = True
    else:
        names = st.sampled_from([TDE_NAME, "ZTF18abadigg", "ZTF17aaaacjc", "nobody"]) | st.sampled_from(OTHERS)
        fields["ids"] = tuple(draw(st.lists(names, min_size=1, max_size=12, unique=True)))
    fields["columns"] = ("i:objectId", "i:jd")
    if fields["table"] == "ztf":
        fields["columns"] = COLUMNS
        fields["upper_limits"] = draw(st.booleans())
        fields["cutouts"] = draw(st.sampled_from([(), (), CUTOUT_KINDS]))
    if draw(st.booleans()):
        fields["start"] = draw(st.sampled_from([2459063.5, 2459080.0]))
    fields["limit"] = draw(st.none() | st.integers(1, 60))
    return Query(**fields)


OTHERS = sorted(set(pq.read_table(NIGHT, columns=["objectId"])["objectId"].to_pylist()))


def bounds(history: History) -> st.SearchStrategy[int]:
    near = [moment + shift for moment in history.moments for shift in (-1, 0, 1)]
    return st.sampled_from([1, *near, FUTURE, 2**63 - 1])


@given(data=st.data())
def test_an_earlier_state_is_answered_as_it_was(history: History, data: st.DataObject) -> None:
    check(history, history.newest, data.draw(queries()), data.draw(bounds(history)))


def merge(opened: Opened, moments: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Compact, of each table, the segments from the first to the last that were written at one of the moments."""
    for name in opened.archive.catalog().tables:
        records = [record for record in opened.store._state.segments if record.table_name == name]
        within = [number for number, record in enumerate(records) if record.written in moments]
        chosen = slice(within[0], within[-1] + 1) if len(within) > 1 else None
        sizes = [record.data_bytes for record in records]
        with monkeypatch.context() as patched:
            patched.setattr(f"{EMBEDDED}.compaction.choose", lambda found, s=sizes, c=chosen, **_: c if found == s else None)
            opened.store.compact(full=True)


def merged(history: History, folder: Path, monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> Opened:
    """Return a copy of the store in which the segments of the ingests [first, last) are merged."""
    shutil.copytree(history.folder, folder)
    opened = opened_at(folder)
    merge(opened, history.moments[first:last], monkeypatch)
    return opened


@pytest.mark.deep(after=3)
@pytest.mark.parametrize(("first", "last"), [(first, last) for first in range(5) for last in range(first + 2, 7)])
def test_after_a_compaction_a_state_is_answered_as_it_was_or_refused(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, last: int
) -> None:
    opened = merged(history, tmp_path / "store", monkeypatch, first, last)
    rewriting = [number for number in REWRITING if first <= number < last]
    oldest = history.moments[rewriting[-1]] if len(rewriting) > 1 else 0
    for query in (
        Query(table="ztf", all=True, columns=COLUMNS),
        Query(table="ztf", ids=("nobody", TDE_NAME, *OTHERS[:9]), columns=COLUMNS),
        Query(table="ztf", ids=(TDE_NAME,), columns=COLUMNS),
    ):
        for as_of in (*(moment - before for moment in history.moments for before in (1, 0)), FUTURE):
            if history.moments[0] <= as_of < oldest:
                with pytest.raises(BadValue) as caught:
                    messages(opened, replace(query, as_of=as_of))
                assert (caught.value.field, caught.value.value) == ("as_of", str(as_of))
                assert str(oldest) in caught.value.message
            else:
                check(history, opened, query, as_of)
    opened.store.close()


@pytest.mark.deep(after=1)
@pytest.mark.parametrize(("first", "last"), [(0, 2), (0, 3), (2, 6)])
def test_stamps_and_limits_after_a_compaction_too(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, last: int
) -> None:
    opened = merged(history, tmp_path / "store", monkeypatch, first, last)
    query = Query(table="ztf", ids=(TDE_NAME, *OTHERS[:20]), columns=COLUMNS, cutouts=CUTOUT_KINDS, upper_limits=True)
    oldest = max(record.whole_since for record in opened.store._state.segments)
    refused = 0
    for as_of in (history.moments[0] - 1, *history.moments, FUTURE):
        try:
            check(history, opened, query, as_of)
        except BadValue:
            assert history.moments[0] <= as_of < oldest
            refused += 1
    assert refused == {(0, 2): 0, (0, 3): 2, (2, 6): 5}[first, last]
    opened.store.close()


def test_stamps_that_only_hidden_rows_name_are_kept(history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(history.folder, tmp_path / "store")
    monkeypatch.setattr(compaction, "KEPT_MS", 0)
    opened = opened_at(tmp_path / "store")
    with monkeypatch.context() as patched:
        patched.setattr(f"{EMBEDDED}.compaction.choose", lambda *_, **__: None)
        assert opened.store.compact().blocks_unused == 0
    query = Query(table="ztf", ids=(TDE_NAME,), columns=COLUMNS, cutouts=CUTOUT_KINDS)
    for as_of in history.moments:
        check(history, opened, query, as_of)
    assert opened.store.compact(full=True).blocks_unused > 0
    opened.store.close()


def test_a_second_compaction_does_not_forget_what_the_first_one_lost(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = merged(history, tmp_path / "store", monkeypatch, 0, 3)
    lost = history.moments[2]
    query = Query(table="ztf", all=True, columns=COLUMNS)
    for _ in range(2):
        with pytest.raises(BadValue, match=str(lost)):
            messages(opened, replace(query, as_of=lost - 1))
        for as_of in (lost, history.moments[3], history.moments[4], FUTURE):
            check(history, opened, query, as_of)
        merge(opened, history.moments[2:4], monkeypatch)  # with an ingest of new rows only
    assert [record.whole_since for record in opened.store._state.segments if record.table_name == "ztf"] == [lost, 0, 0]
    opened.store.close()


def test_a_bound_is_refused_before_any_row_and_in_a_plan(history: History, tmp_path: Path) -> None:
    shutil.copytree(history.folder, tmp_path / "store")
    opened = opened_at(tmp_path / "store")
    opened.store.compact(full=True)
    query = Query(table="ztf", ids=(TDE_NAME,), as_of=history.moments[1])
    for ask in (opened.archive.answer, opened.archive.plan):
        with pytest.raises(BadValue, match=f"the oldest as_of that can be read is {history.moments[5]}"):
            ask(query, Caller())
    # each table has lost its own
    check(history, opened, Query(table="ztf.upper", all=True, columns=("i:objectId", "i:jd")), history.moments[1])
    early = replace(query, as_of=history.moments[0] - 1)
    assert messages(opened, early).missing == [TDE_NAME]
    assert messages(opened, replace(query, as_of=FUTURE)).record["as_of"] == FUTURE
    opened.store.close()


@pytest.mark.deep
def test_rows_over_many_batches(tmp_path: Path) -> None:
    """Rows of many batches, each written again by one or two later ingests, some of them alone."""
    simulate(tmp_path / "alerts", objects=250, nights=1, seed=3, alerts_each=10)
    rename(tmp_path / "alerts", 0)
    (file,) = (tmp_path / "alerts").rglob("*.parquet")
    table = pq.ParquetFile(file).read()
    place = table.column_names.index("cdsxmatch")
    moments, wanted = [], []
    query = Query(table="ztf", all=True, columns=COLUMNS)
    for number in range(4):
        some = table.set_column(place, "cdsxmatch", pa.array([f"class{number}"] * len(table))).slice(600 * number, 1500)
        pq.write_table(some, tmp_path / f"{number}.parquet")
        opened = opened_at(fill(tmp_path / "store", tmp_path / f"{number}.parquet"))
        moments.append(opened.store.view().as_of)
        wanted.append(messages(opened, query).table)
        opened.store.close()
    opened = opened_at(tmp_path / "store")
    for moment, rows in zip(moments, wanted, strict=True):
        assert digest(messages(opened, replace(query, as_of=moment)).table) == digest(rows)
    opened.store.compact(full=True)
    assert digest(messages(opened, replace(query, as_of=moments[-1])).table) == digest(wanted[-1])
    opened.store.close()


def test_a_compacted_segment_of_rows_that_replace_none_answers_every_state(tmp_path: Path) -> None:
    simulate(tmp_path / "alerts", objects=250, nights=1, seed=4, alerts_each=10)
    (file,) = (tmp_path / "alerts").rglob("*.parquet")
    table = pq.ParquetFile(file).read()
    query = Query(table="ztf", all=True, columns=COLUMNS)
    moments, wanted = [], []
    for number in range(3):
        pq.write_table(table.take(list(range(number, len(table), 3))), tmp_path / f"{number}.parquet")
        opened = opened_at(fill(tmp_path / "store", tmp_path / f"{number}.parquet"))
        moments.append(opened.store.view().as_of)
        wanted.append(messages(opened, query).table)
        opened.store.close()
    opened = opened_at(tmp_path / "store")
    opened.store.compact(full=True)
    assert len(opened.store.view()._segments["ztf"]) == 1
    some = tuple(sorted(set(table["objectId"].to_pylist()))[::7])
    for moment, rows in zip(moments, wanted, strict=True):
        assert digest(messages(opened, replace(query, as_of=moment)).table) == digest(rows)
        mine = messages(opened, replace(query, all=False, ids=some, as_of=moment)).table
        assert digest(mine) == digest(rows.filter(pa.compute.is_in(rows["i:objectId"], pa.array(some))).combine_chunks())
    opened.store.close()


def test_tables_whose_rows_are_overwritten_refuse_it(sample: Opened) -> None:
    catalog = load_catalog()
    query = Query(table="ztf", ids=(TDE_NAME,), as_of=FUTURE)

    def overwriting(name: str) -> Catalog:
        tables = {**catalog.tables, name: structs.replace(catalog.table(name), on_equal_key="overwrite")}
        return replace(catalog, surveys={"ztf": structs.replace(catalog.surveys["ztf"], tables=tables)})

    for name, changes in (("ztf", {}), ("ztf.upper", {"upper_limits": True}), ("ztf.cutouts", {"cutouts": ("Science",)})):
        with pytest.raises(NotSupported) as caught:
            Planner(overwriting(name)).plan(replace(query, **changes))
        assert caught.value.field == "as_of"
        assert name in caught.value.message
        assert Planner(overwriting(name)).plan(replace(query, as_of=None, **changes))
    assert Planner(overwriting("ztf.upper")).plan(query)


def test_an_empty_archive_has_nothing_as_of_any_moment(open_store: Callable[..., Opened]) -> None:
    opened = open_store()
    for as_of in (1, FUTURE):
        assert messages(opened, Query(table="ztf", ids=("a",), as_of=as_of)).missing == ["a"]
