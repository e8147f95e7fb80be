"""Answers to every selection, and nested ones, can be resumed from every cursor, on both stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from archives import Answered, Opened, digest, messages

from flight_server.protocol.errors import CursorMismatch, RowTooLarge
from flight_server.protocol.query import Cone, Query, SkyMap

TDE = "ZTF20abfcszi"
MAP = SkyMap(4, ((50, 70),))
# of one answer; of more, every second, third, ... is tried
MOST_CURSORS = {"embedded": 10, "hbase": 6}
COLUMNS = ("i:objectId", "i:jd", "i:fid", "i:magpsf")
QUERIES: dict[str, dict[str, Any]] = {
    "ids": {"table": "ztf", "ids": (TDE, "nobody", "ZTF25aauurnj"), "columns": COLUMNS},
    "all": {"table": "ztf", "all": True, "columns": COLUMNS},
    "cone of objects": {"table": "ztf", "cone": Cone(115.436, 33.138, 18_000.0), "columns": (*COLUMNS, "v:separation_degree")},
    "cone of positions": {"table": "ztf.pixel128", "cone": Cone(115.436, 33.138, 18_000.0)},
    "sky map of objects": {"table": "ztf", "skymap": MAP, "columns": COLUMNS},
    "sky map of positions": {"table": "ztf.pixel128", "skymap": MAP, "columns": ("i:objectId", "i:jd")},
    "class": {"table": "ztf.class", "class_": "AGN", "columns": COLUMNS},
    "class in bounds": {"table": "ztf.class", "class_": "AGN", "columns": ("i:objectId",), "start": 2459000.5},
    "time": {"table": "ztf.anomaly", "start": 2459000.5, "columns": COLUMNS},
    "all by time": {"table": "ztf.anomaly", "all": True, "columns": ("i:objectId",)},
    "upper limits": {"table": "ztf", "ids": (TDE, "ZTF25aauurnj"), "columns": COLUMNS, "upper_limits": True},
    "rates": {"table": "ztf", "all": True, "columns": ("i:objectId", "i:jd", "v:rate")},
    "nested": {"table": "ztf", "ids": (TDE, "nobody", "ZTF25aauurnj"), "columns": COLUMNS, "layout": "nested"},
    "nested all": {"table": "ztf", "all": True, "columns": ("i:jd",), "layout": "nested"},
    "nested upper limits": {"table": "ztf", "all": True, "columns": ("i:jd",), "layout": "nested", "upper_limits": True},
    "nested cone": {"table": "ztf", "cone": Cone(115.436, 33.138, 18_000.0), "columns": ("i:jd",), "layout": "nested"},
    "objects": {"table": "ztf", "all": True, "columns": COLUMNS, "limit_objects": 60},
    "objects by ID": {"table": "ztf", "ids": ("nobody", TDE, "ZTF25aauurnj"), "columns": COLUMNS, "limit_objects": 1},
    "limit": {"table": "ztf.anomaly", "all": True, "columns": ("i:objectId",), "limit": 40},
}


def cursors(answered: Answered) -> Iterator[tuple[int, str]]:
    """Return the cursor of each data message with the number of rows up to it."""
    rows = 0
    for count, metadata in answered.messages:
        rows += count
        if "seq" in metadata:
            yield rows, metadata["cursor"]


def in_small_messages(opened: Opened, query: Query) -> tuple[Query, Answered]:
    """Return the query with small messages, and its answer."""
    for size in range(2_200, 10_000, 100):
        with suppress(RowTooLarge):
            messages(opened, replace(query, max_message_bytes=size))
            # how rows are cut out changes their size by some padding
            small = replace(query, max_message_bytes=size + 64)
            return small, messages(opened, small)
    raise AssertionError("a row takes more than 10,000 bytes")


@pytest.mark.deep(after=5)
@pytest.mark.both_stores
@pytest.mark.parametrize("name", QUERIES)
def test_a_stream_cut_at_any_batch_goes_on_without_loss_or_repetition(large_sample: Opened, store_kind: str, name: str) -> None:
    query = Query(**QUERIES[name])
    if query.ids is not None:
        names = messages(large_sample, Query(table="ztf", all=True, columns=("i:objectId",), limit=200)).table[0].unique()
        query = replace(query, ids=(*query.ids, *names[::15].to_pylist()))
    query, whole = in_small_messages(large_sample, query)
    places = list(cursors(whole))
    # the padding of many columns makes one row of them as large as a few
    assert len(places) > 1 or name == "cone of positions"
    for sent, cursor in [*places[:: -(-len(places) // MOST_CURSORS[store_kind])], places[-1]]:
        rest = messages(large_sample, replace(query, resume_after=cursor))
        assert digest(rest.table) == digest(whole.table.slice(sent)), sent
        assert rest.record["rows"] == len(whole.table) - sent
        assert rest.record["complete"] == whole.record["complete"]
        assert rest.missing == whole.missing


@pytest.mark.both_stores(1, 2, 6, 10, 13)
@pytest.mark.parametrize(
    "name", [name for name, fields in QUERIES.items() if "limit" not in fields and "limit_objects" not in fields]
)
def test_pages_of_a_limit_make_the_whole(large_sample: Opened, name: str) -> None:
    query = Query(**QUERIES[name])
    whole = messages(large_sample, query).table
    limit = max(3, len(whole) // 6)
    page = messages(large_sample, replace(query, limit=limit))
    parts = [page.table]
    while not page.record["complete"]:
        page = messages(large_sample, replace(query, limit=limit, resume_after=page.record["cursor"]))
        parts.append(page.table)
    assert digest(pa.concat_tables(parts)) == digest(whole)
    assert len(parts) == max(1, -(-len(whole) // limit))


@pytest.mark.both_stores
def test_pages_of_objects_make_the_whole(large_sample: Opened) -> None:
    query = Query(table="ztf", all=True, columns=COLUMNS)
    whole = messages(large_sample, query).table
    page = messages(large_sample, replace(query, limit_objects=40))
    parts = [page.table]
    while not page.record["complete"]:
        assert page.record["objects"] == 40
        page = messages(large_sample, replace(query, limit_objects=40, resume_after=page.record["cursor"]))
        parts.append(page.table)
    assert digest(pa.concat_tables(parts)) == digest(whole)


@pytest.mark.both_stores
def test_a_row_that_has_gone_ends_the_cursor(large_sample: Opened) -> None:
    cone = Query(table="ztf", cone=Cone(115.436, 33.138, 18_000.0), columns=COLUMNS, max_message_bytes=2_700)
    (_, cursor), *_ = cursors(messages(large_sample, cone))
    elsewhere = Query(table="ztf", cone=Cone(10.0, -40.0, 1.0), columns=COLUMNS, max_message_bytes=2_700)
    with pytest.raises(CursorMismatch):
        messages(large_sample, replace(elsewhere, resume_after=cursor))


@pytest.mark.both_stores
def test_the_store_holds_what_the_queries_ask_for(large_sample: Opened) -> None:
    for name in ("class", "time", "cone of objects", "sky map of positions"):
        assert messages(large_sample, Query(**QUERIES[name])).record["rows"] > 20, name
