"""Several detections of one object in one exposure: each alert keeps its own row, cells and cutouts, on every store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import oracle
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from alert_data import NIGHT
from archives import Opened, digest, messages
from changed_alerts import alerts_of, saved, with_candidates, with_fields
from click.testing import CliRunner

from flight_server.catalog.catalog import load_catalog
from flight_server.cli.app import main
from flight_server.ingest import ingest
from flight_server.protocol.query import Query

TABLES = ("ztf", "ztf.class")
COLUMNS = ("i:candid", "i:objectId", "i:jd", "i:aimage", "i:clrcoeff", "d:cdsxmatch")


def few() -> pa.Table:
    return alerts_of(NIGHT).slice(0, 6)


def ids_of(alerts: pa.Table) -> list[int]:
    return [int(one) for one in alerts["candid"].to_pylist()]


def second(alerts: pa.Table, step: int) -> pa.Table:
    """Return a second detection in the exposure of each alert, which has values and cutouts of its own and lacks others."""
    ids = pc.add(alerts["candid"], step).combine_chunks()
    struct = alerts["candidate"].combine_chunks()
    other = with_candidates(
        alerts,
        candid=ids,
        aimage=pc.add(struct.field("aimage"), 0.5),
        clrcoeff=pa.nulls(len(ids), struct.field("clrcoeff").type),
    )
    stamps = pa.array([f"cutout of {one}".encode() for one in ids.to_pylist()], pa.binary())
    cutout = pa.StructArray.from_arrays([pa.nulls(len(ids), pa.string()), stamps], names=["fileName", "stampData"])
    # the other one of each pair has another class, so that it is elsewhere in the index
    labels = [label if row % 2 else "Star" for row, label in enumerate(alerts["cdsxmatch"].to_pylist())]
    return with_fields(other, candid=ids, cutoutScience=cutout, cdsxmatch=pa.array(labels))


def rows_by_alert(opened: Opened, table: str) -> dict[int, dict[str, Any]]:
    rows = messages(opened, Query(table=table, all=True)).table.to_pylist()
    # NaN as text, so that it equals itself
    found = {row["i:candid"]: {name: repr(value) for name, value in row.items()} for row in rows}
    assert len(found) == len(rows), "each alert has one row"
    return found


def sorted_rows(opened: Opened, table: str) -> str:
    rows = messages(opened, Query(table=table, all=True)).table
    return digest(rows.sort_by("i:candid"))


@pytest.mark.both_stores
@pytest.mark.parametrize("step", [1, -1])
def test_each_alert_keeps_its_own_cells_and_cutouts(open_store: Callable[..., Opened], tmp_path: Path, step: int) -> None:
    first = few()
    other = second(first, step)
    files = [saved(part, tmp_path / f"{number}.parquet") for number, part in enumerate((first, other))]
    alone = [open_store(f"alone {number}") for number in (0, 1)]
    for opened, file in zip(alone, files, strict=True):
        opened.ingest(file)
    stores = [open_store(f"both {number}") for number in range(3)]
    together, one_way, other_way = stores
    together.ingest(*files)
    for file in files:
        one_way.ingest(file)
    for file in reversed(files):
        other_way.ingest(file)
    for table in TABLES:
        wanted = rows_by_alert(alone[0], table) | rows_by_alert(alone[1], table)
        assert len(wanted) == 2 * len(first)
        for opened in stores:
            assert rows_by_alert(opened, table) == wanted
        assert len({sorted_rows(opened, table) for opened in stores}) == 1
    ids = sorted(set(first["objectId"].to_pylist()))
    for opened in stores:
        query = Query(table="ztf", ids=tuple(ids), columns=COLUMNS, cutouts=("Science",))
        answer = messages(opened, query)
        found = {row["i:candid"]: row["b:cutoutScience_stampData"] for row in answer.table.to_pylist()}
        given = oracle.stamps(files)
        assert len(found) == 2 * len(first)
        assert all({stamp} == given[one, "Science"] for one, stamp in found.items())
        assert answer.record["complete"] is True
        assert not answer.record["cutout_errors"]


@pytest.mark.both_stores
def test_an_alert_that_comes_again_changes_its_own_row(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    first = few()
    other = second(first, 1)
    opened = open_store()
    opened.ingest(*(saved(part, tmp_path / f"{number}.parquet") for number, part in enumerate((first, other))))
    assert not any(opened.ingest(tmp_path / "1.parquet", tmp_path / "0.parquet").rows.values()), "nothing is new"
    before = rows_by_alert(opened, "ztf")
    changed = with_candidates(other, aimage=pc.add(other["candidate"].combine_chunks().field("aimage"), 1.0))
    report = opened.ingest(saved(changed, tmp_path / "changed.parquet"))
    assert report.sharing.alerts == tuple(sorted(ids_of(other)))
    after = rows_by_alert(opened, "ztf")
    again = set(ids_of(other))
    assert set(after) == set(before)
    for one, row in after.items():
        moved = {name for name in row if row[name] != before[one][name]}
        assert moved == ({"i:aimage"} if one in again else set())


def test_of_three_in_one_ingest_the_smallest_id_has_the_plain_key(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    first = few()
    parts = [first, second(first, 7), second(first, -7)]
    opened = open_store()
    report = opened.ingest(*(saved(part, tmp_path / f"{number}.parquet") for number, part in enumerate(parts)))
    assert report.sharing.alerts == tuple(sorted(ids_of(parts[0]) + ids_of(parts[1])))
    whole = messages(opened, Query(table="ztf", all=True, columns=("i:candid", "i:objectId", "i:jd"))).table
    assert len(whole) == 3 * len(first)
    # one page after another, each from the cursor of the last
    pages, after = [], None
    for _ in range(len(whole)):
        answer = messages(opened, Query(table="ztf", all=True, columns=("i:candid",), limit=2, resume_after=after))
        pages += answer.table["i:candid"].to_pylist()
        after = answer.record.get("cursor")
        if answer.record["complete"] and not answer.record.get("truncated"):
            break
    assert pages == whole["i:candid"].to_pylist()


def test_no_alert_of_another_exposure_is_touched(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    first = few()
    opened = open_store()
    opened.ingest(saved(first, tmp_path / "first.parquet"))
    moved = with_candidates(first, jd=pc.add(first["candidate"].combine_chunks().field("jd"), 1.0))
    report = opened.ingest(saved(moved, tmp_path / "moved.parquet"))
    assert report.sharing.alerts == ()
    assert report.rows["ztf"] == len(first)


def test_the_command_names_the_alerts(tmp_path: Path) -> None:
    first = few()
    other = second(first, 1)
    files = [str(saved(part, tmp_path / f"{number}.parquet")) for number, part in enumerate((first, other))]
    done = CliRunner().invoke(main, ["ingest", *files, "--data", str(tmp_path / "store")])
    assert done.exit_code == 0
    named = ", ".join(map(str, sorted(ids_of(other))))
    assert f"6 alerts share object and exposure with another one; they are stored beside it: {named}" in done.stderr


def test_detections_of_histories_that_are_left_out_are_counted(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    alerts = few().slice(0, 1)
    points = [dict(point) for point in alerts["prv_candidates"][0].as_py() if point["magpsf"] is not None]
    good = {**points[0], "rb": 0.9, "nbad": 0, "jd": 2459000.5, "tblid": 5, "candid": 100}
    both = [good, {**good, "tblid": 6, "candid": 101, "magpsf": 17.0}]
    kind = alerts.schema.field("prv_candidates").type
    history = with_fields(alerts, prv_candidates=pa.array([both], kind))
    report = ingest(open_store().store, load_catalog(), [saved(history, tmp_path / "history.parquet")], history=True)
    name = f"{alerts['objectId'][0].as_py()}_2459000.5"
    assert report.sharing.left_out == {name: 1}
    again = ingest(open_store("again").store, load_catalog(), [saved(alerts, tmp_path / "alone.parquet")], history=True)
    assert again.sharing.left_out == {}
