"""Pages of an answer between which alerts arrive are the answer as of the first page, or refused."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from archives import Answered, digest, messages, open_embedded
from depth import is_thorough
from sky_worlds import CENTRE, World

from flight_server.protocol.errors import BadValue, CursorMismatch
from flight_server.protocol.query import Cone, Query, SkyMap

SEEDS = range(20 if is_thorough() else 1)
CONE = Cone(*CENTRE, 1800.0)
EVERYWHERE = SkyMap(1, ((0, 11),))
COLUMNS = ("i:objectId", "i:jd", "i:magpsf")
QUERIES: dict[str, dict[str, Any]] = {
    "cone of objects": {"table": "ztf", "cone": CONE, "columns": COLUMNS},
    "cone in bounds": {"table": "ztf", "cone": CONE, "columns": COLUMNS, "start": 2459600.5},
    "nested cone": {"table": "ztf", "cone": CONE, "columns": ("i:jd",), "layout": "nested"},
    "cone of positions": {"table": "ztf.pixel128", "cone": CONE, "columns": COLUMNS},
    "sky map of objects": {"table": "ztf", "skymap": EVERYWHERE, "columns": COLUMNS},
    "fine sky map of objects": {"table": "ztf", "skymap": SkyMap(1024, ((4_100_000, 4_160_000),)), "columns": COLUMNS},
    "sky map of positions": {"table": "ztf.pixel128", "skymap": EVERYWHERE, "columns": COLUMNS},
    "fine sky map of positions": {"table": "ztf.pixel128", "skymap": SkyMap(1024, ((4_100_000, 4_160_000),)), "columns": COLUMNS},
    "sky map of many columns": {"table": "ztf.pixel128", "skymap": SkyMap(128, ((60_000, 70_000),))},
    "class": {"table": "ztf.class", "class_": "SN", "columns": COLUMNS},
    "class in bounds": {
        "table": "ztf.class",
        "class_": "SN candidate",
        "columns": COLUMNS,
        "start": 2459600.51,
        "stop": 2459601.512,
    },
    "time": {"table": "ztf.anomaly", "start": 2459600.05, "columns": COLUMNS},
    "all by time": {"table": "ztf.anomaly", "all": True, "columns": COLUMNS},
    "tracklet": {"table": "ztf.tracklet", "tracklet": "TRCK_2022", "columns": COLUMNS},
    "all": {"table": "ztf", "all": True, "columns": COLUMNS},
    "all positions": {"table": "ztf.pixel128", "all": True, "columns": COLUMNS},
    "nested all": {"table": "ztf", "all": True, "columns": ("i:jd",), "layout": "nested"},
    "upper limits": {"table": "ztf", "all": True, "columns": COLUMNS, "upper_limits": True},
    "ids": {"table": "ztf", "ids": tuple(f"ZTF22a{number:04d}" for number in range(24, -1, -1)), "columns": COLUMNS},
}


@pytest.fixture
def world(tmp_path: Path, seed: int) -> Iterator[World]:
    made = World(tmp_path / "store", seed)
    for _ in range(3):
        made.ingest(60)
    yield made
    made.opened.store.close()


def key_of(row: dict[str, Any]) -> str:
    return f"{row['i:objectId']}_{row['i:jd']}"


def arrive(world: World, query: Query) -> None:
    """Write alerts that change an answer."""
    world.ingest(world.random.randrange(1, 8), {query.table, "ztf.pixel128"} if query.cone or query.skymap else {query.table})


def pages(world: World, query: Query) -> Iterator[Answered]:
    """Yield the pages of an answer; more alerts arrive behind each."""
    page = messages(world.opened, query)
    yield page
    while not page.record["complete"]:
        arrive(world, query)
        page = messages(world.opened, replace(query, resume_after=page.record["cursor"]))
        yield page


@pytest.mark.parametrize("seed", SEEDS)
def test_pages_are_one_answer_whatever_arrives_between_them(world: World, seed: int) -> None:
    for name in world.shuffled(list(QUERIES)):
        query = Query(**QUERIES[name])
        whole = messages(world.opened, query)
        assert len(whole.table) > 3, name
        limit = world.random.randrange(-(-len(whole.table) // 3), len(whole.table) // 2 + 1)
        found = list(pages(world, replace(query, limit=limit)))
        assert len(found) > 1
        assert digest(pa.concat_tables([page.table for page in found])) == digest(whole.table), name
        assert {page.record["as_of"] for page in found} == {whole.record["as_of"]}, name
        assert found[-1].missing == whole.missing, name


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stream_that_broke_goes_on_as_it_began(world: World, seed: int) -> None:
    for name in world.shuffled(list(QUERIES)):
        query = Query(**QUERIES[name], max_message_bytes=2_900 if "many" not in name else 4_000)
        whole = messages(world.opened, query)
        sent = [(rows, said["cursor"]) for rows, said in whole.messages if "cursor" in said and "seq" in said]
        place = world.random.randrange(len(sent))
        arrive(world, query)
        rest = messages(world.opened, replace(query, resume_after=sent[place][1]))
        assert digest(rest.table) == digest(whole.table.slice(sum(rows for rows, _ in sent[: place + 1]))), name
        assert rest.missing == whole.missing, name


@pytest.mark.parametrize("seed", SEEDS[:1])
def test_a_state_that_compaction_dropped_ends_the_cursor(world: World, seed: int) -> None:
    queries = {name: Query(**fields, limit=3) for name, fields in QUERIES.items()}
    found = {name: messages(world.opened, query).record["cursor"] for name, query in queries.items()}
    world.ingest(200)
    world.opened.store.compact(full=True)
    for name, query in queries.items():
        after = replace(query, resume_after=found[name])
        with pytest.raises(CursorMismatch, match="compaction has dropped"):
            messages(world.opened, after)
        if name in {"all", "class", "time", "ids"}:  # a later state can be asked for
            assert messages(world.opened, replace(after, as_of=2**62)).record["rows"] == 3


@pytest.mark.parametrize("seed", SEEDS[:1])
def test_without_the_earlier_state_other_objects_than_before_end_the_cursor(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with HBase, which keeps no versions."""
    monkeypatch.setattr("flight_server.storage.embedded.snapshot.Snapshot.keeps_versions", False)
    ended = {"exactly": 0, "refused": 0}
    for name in ("cone of objects", "nested cone", "cone of positions", "sky map of objects", "fine sky map of objects") * 2:
        query = Query(**QUERIES[name])
        query = replace(query, limit=len(messages(world.opened, query).table) // 2)
        page = messages(world.opened, query)
        world.ingest(2, {"ztf", "ztf.pixel128"})
        parts = [page.table]
        try:
            while not page.record["complete"]:
                page = messages(world.opened, replace(query, resume_after=page.record["cursor"]))
                parts.append(page.table)
        except CursorMismatch:
            ended["refused"] += 1
            continue
        ended["exactly"] += 1
        runs = [one for one, _ in itertools.groupby(pa.concat_tables(parts)["i:objectId"].to_pylist())]
        now = messages(world.opened, replace(query, limit=None)).table["i:objectId"].to_pylist()
        assert runs == [one for one, _ in itertools.groupby(now)], name
    assert min(ended.values()) > 0, ended


@pytest.mark.parametrize("seed", SEEDS[:1])
def test_a_time_of_the_ticket_goes_before_that_of_the_cursor(world: World, seed: int) -> None:
    query = Query(table="ztf", all=True, columns=COLUMNS, limit=10)
    page = messages(world.opened, query)
    world.ingest(200, {"ztf"})
    now = messages(world.opened, replace(query, limit=None))
    later = messages(world.opened, replace(query, resume_after=page.record["cursor"], as_of=now.record["as_of"]))
    last = key_of(page.table.to_pylist()[-1])
    assert later.table.to_pylist() == [row for row in now.table.to_pylist() if key_of(row) > last][:10]
    world.opened.store.compact(full=True)
    with pytest.raises(BadValue):
        messages(world.opened, replace(query, resume_after=page.record["cursor"], as_of=page.record["as_of"]))


@pytest.mark.parametrize("seed", SEEDS[:1])
def test_a_store_that_lags_behind_does_not_go_on(world: World, seed: int, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "store", tmp_path / "behind")
    behind = open_embedded(tmp_path / "behind")
    query = Query(table="ztf", all=True, columns=COLUMNS, limit=10)
    page, earlier = messages(world.opened, query), messages(behind, query)
    assert messages(behind, replace(query, resume_after=page.record["cursor"])).record["rows"] == 10
    world.ingest(5, {"ztf"})
    page = messages(world.opened, query)
    with pytest.raises(CursorMismatch, match="later state"):
        messages(behind, replace(query, resume_after=page.record["cursor"]))
    assert messages(world.opened, replace(query, resume_after=earlier.record["cursor"])).record["rows"] == 10
    behind.store.close()
