"""Limits over more IDs than a server plans at once: the first rows, exactly, and pages of them."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import ask, digest
from cut_proxy import cutting

import flight_client as af
from flight_client.endpoints import IDS_A_CALL
from flight_server.flight import FlightServer

TDE = "ZTF20abfcszi"


@pytest.fixture
def archive(server: FlightServer) -> af.Archive:
    return af.connect(f"grpc://127.0.0.1:{server.port}")


@pytest.fixture
def ids(client: fl.FlightClient) -> list[str]:
    """The objects of the archive in some order, far apart in a list of three parts."""
    names = sorted(set(ask(client, table="ztf", all=True, columns=["i:objectId"]).table["i:objectId"].to_pylist()))
    chance = random.Random(16)
    chance.shuffle(names)
    listed = [f"ZTF99{number:07}" for number in range(2 * IDS_A_CALL + 100)]
    for name in names:
        listed.insert(chance.randrange(len(listed)), name)
    return listed


def pages_of(answer: af.Answer) -> list[tuple[pa.Table, af.Record]]:
    pages = []
    while True:
        rows = answer.to_arrow()
        record = answer.record
        assert record is not None
        assert record.rows == len(rows)
        pages.append((rows, record))
        if record.complete:
            assert record.cursor is None
            return pages
        assert answer.missing == [], "those behind the limit are unknown"
        answer = answer.changed(resume_after=record.cursor)


@pytest.mark.deep(after=2)
@pytest.mark.parametrize(
    ("fields", "limits"),
    [
        ({"columns": ["i:jd", "i:magpsf"]}, [{"limit": 13}, {"limit_objects": 10}, {"limit": 20, "limit_objects": 6}]),
        ({"columns": ["i:objectId", "i:jd"], "upper_limits": True}, [{"limit": 97}]),
        ({"columns": ["i:jd"], "layout": "nested"}, [{"limit": 20}]),
        ({"columns": ["i:jd"], "cutouts": ["Science"]}, [{"limit": 50}]),
    ],
    ids=["rows", "upper limits", "nested", "cutouts"],
)
def test_pages_are_the_whole_answer(
    archive: af.Archive, ids: list[str], fields: dict[str, Any], limits: list[dict[str, int]]
) -> None:
    unlimited = archive.objects(ids, **fields)
    whole = unlimited.to_arrow()
    for limit in limits:
        pages = pages_of(archive.objects(ids, **fields, **limit))
        assert len(pages) > 1
        assert pa.concat_tables([rows for rows, _ in pages]).equals(whole)
        for rows, record in pages:
            assert rows.schema.equals(whole.schema, check_metadata=True)
            assert len(rows) <= limit.get("limit", len(whole))
            assert record.objects is not None
            assert record.objects <= limit.get("limit_objects", len(ids))
        if set(limit) == {"limit"}:
            assert {len(rows) for rows, _ in pages[:-1]} == {limit["limit"]}
        assert unlimited.record is not None
        assert pages[-1][1].missing_ids == unlimited.missing
        assert sum(record.missing_cutouts for _, record in pages) == unlimited.record.missing_cutouts


def test_a_limit_at_the_end_knows_whether_rows_follow(archive: af.Archive, ids: list[str]) -> None:
    whole = archive.objects(ids, columns=["i:jd"]).to_arrow()
    for limit, complete in ((len(whole) - 1, False), (len(whole), True), (len(whole) + 1, True), (2**62, True)):
        answer = archive.objects(ids, columns=["i:jd"], limit=limit)
        assert answer.to_arrow().equals(whole.slice(0, limit))
        assert answer.record is not None
        assert answer.record.complete is complete
        assert (answer.record.cursor is None) is complete
        assert (len(answer.missing) > 0) is complete
    # the limit is reached at the end of a part, and what follows is in another
    for last, complete in (("nobody", True), ("ZTF18abadigg", False)):
        listed = [TDE, *ids_without(ids), last]
        answer = archive.objects(listed, columns=["i:jd"], limit=21)
        assert len(answer.to_arrow()) == 21
        assert answer.record is not None
        assert answer.record.complete is complete
        assert len(answer.missing) == (len(listed) - 1 if complete else 0)


def ids_without(ids: list[str]) -> list[str]:
    return [name for name in ids if name.startswith("ZTF99")]


def test_a_strict_answer_raises_only_if_it_is_whole(archive: af.Archive, ids: list[str]) -> None:
    assert len(archive.objects(ids, columns=["i:jd"], limit=3, missing="raise").to_arrow()) == 3
    with pytest.raises(af.MissingObjects):
        archive.objects(ids, columns=["i:jd"], limit=10_000, missing="raise").to_arrow()


def test_no_more_parts_are_read_than_the_limit_needs(archive: af.Archive, ids: list[str]) -> None:
    listed = [TDE, *ids, 5]  # a number is refused by the server once its part is asked for
    assert len(archive.objects(listed, columns=["i:jd"], limit=5).to_arrow()) == 5
    with pytest.raises(af.errors.BadValue):
        archive.objects(listed, columns=["i:jd"], limit=10_000).to_arrow()


def test_cursors_are_for_their_own_query_and_unchanged_rows(archive: af.Archive, ids: list[str]) -> None:
    listed = [TDE, *ids_without(ids)]
    page = archive.objects(listed, columns=["i:jd"], limit=5)
    page.to_arrow()
    assert page.record is not None
    cursor = page.record.cursor
    changes: list[dict[str, Any]] = [{"ids": tuple(ids)}, {"limit": 6}, {"columns": ("i:fid",)}, {"resume_after": "list.abc"}]
    changes += [{"resume_after": "AAAA"}, {"resume_after": f"{cursor}A"}, {"resume_after": "list.é"}]
    for change in changes:
        with pytest.raises(af.errors.CursorMismatch) as caught:
            page.changed(**({"resume_after": cursor} | change)).to_arrow()
        assert caught.value.field == "resume_after"
    assert len(page.changed(resume_after=cursor, as_of=page.record.as_of).to_arrow()) == 5
    with pytest.raises(af.errors.CursorMismatch, match=f"the rows of {TDE} before the cursor have changed"):
        page.changed(resume_after=cursor, as_of=1_000_000_000_000).to_arrow()


def test_a_plan_of_it_is_refused(archive: af.Archive, ids: list[str]) -> None:
    with pytest.raises(af.errors.NotSupported, match="a limit to more than 20,000 IDs has no plan") as caught:
        archive.objects(ids, limit=5).plan()
    assert caught.value.field == "limit"


def test_broken_streams_are_resumed(server: FlightServer, ids: list[str]) -> None:
    whole = af.connect(f"grpc://127.0.0.1:{server.port}").objects(ids).to_arrow()
    with cutting(server.port, 60_000, 60_000) as proxy:
        archive = af.connect(proxy.url, retries=af.Retries(pause=0.001, longest=0.01))
        answer = archive.objects(ids, limit=100, max_message_bytes=32_768)
        assert digest(answer.to_arrow()) == digest(whole.slice(0, 100))
        assert proxy.cuts > 0
