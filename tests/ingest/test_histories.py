"""Histories as rows: the good points of the 30 days before each alert, without duplicates, next to the alerts."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oracle
import pyarrow as pa
import pytest
from alert_data import MANY_AVRO, NIGHT, SAMPLES, TDE, swept_files, swept_folder
from archives import Opened, digest, messages
from changed_alerts import alerts_of, saved
from click.testing import CliRunner

from flight_server.catalog.catalog import load_catalog
from flight_server.cli.app import main
from flight_server.ingest import count_nights, ingest
from flight_server.protocol.query import Query


def put(opened: Opened, *files: Path) -> None:
    assert not ingest(opened.store, load_catalog(), files, history=True).failures


def rows_of(opened: Opened, table: str = "ztf") -> pa.Table:
    return messages(opened, Query(table=table, all=True)).table


def keyed(rows: pa.Table) -> dict[str, dict[str, Any]]:
    found = {f"{row['i:objectId']}_{row['i:jd']!r}": row for row in rows.to_pylist()}
    assert len(found) == len(rows), "no row stands twice"
    return found


def points_of(files: list[Path]) -> dict[str, list[dict[str, Any]]]:
    """Return the good points of all histories by row key."""
    points: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for file in files:
        for alert in oracle.read_alerts(file):
            for point in alert.get("prv_candidates") or []:
                if not oracle.is_limit(point) and not oracle.is_bad(point):
                    points[f"{alert['objectId']}_{point['jd']!r}"].append(point)
    return points


@pytest.fixture(scope="module")
def unfolded(make_store: Callable[[], Opened]) -> Opened:
    opened = make_store()
    put(opened, swept_folder())
    return opened


@pytest.mark.both_stores
def test_every_good_point_is_a_row_once_and_every_alert_is_as_it_was(swept: Opened, unfolded: Opened) -> None:
    alerts, found, points = keyed(rows_of(swept)), keyed(rows_of(unfolded)), points_of(swept_files())
    assert set(found) == set(alerts) | set(points)
    assert len(found) > 2 * len(alerts)
    names = swept.archive.catalog().stored_columns(swept.archive.catalog().table("ztf"))
    whole = rows_of(unfolded)
    own = pa.array([key in alerts for key in found])
    assert digest(whole.filter(own).select(list(names))) == digest(rows_of(swept))
    for table in load_catalog().surveys["ztf"].tables:
        if table not in {"ztf", "ztf.cutouts", "ztf.upper", "ztf.uppervalid"}:
            assert digest(rows_of(unfolded, table)) == digest(rows_of(swept, table)), table


@pytest.mark.both_stores
def test_a_point_has_the_cells_that_its_history_has(unfolded: Opened) -> None:
    columns = unfolded.archive.catalog().known["ztf"]
    points, found = points_of(swept_files()), keyed(rows_of(unfolded))
    checked = rounded = 0
    for key in set(points) & set(found):
        row = found[key]
        if row["i:jdstarthist"] is not None:
            continue
        of_it = [point for point in points[key] if point["tblid"] == row["i:tblid"]]
        assert row["i:tblid"] == max(point["tblid"] for point in points[key]), "of two detections in one exposure one stands"
        for name, value in row.items():
            field = name.partition(":")[2]
            if name == "i:objectId":
                continue
            given = [point[field] for point in of_it if point.get(field) is not None]
            if name == "i:candid":
                # a candid as a float64 is rounded, and so no candid
                given = [candid for candid in given if isinstance(candid, int)]
                rounded += not given
            allowed = {oracle.typed(one, columns[name]) for one in given} or {None}
            assert (value if value == value else "NaN") in allowed, (key, name)  # noqa: PLR0124
            checked += value is not None
    assert checked > 1000
    assert rounded or swept_folder() == SAMPLES


@pytest.mark.both_stores
def test_every_limit_and_every_bad_point_is_a_row(unfolded: Opened) -> None:
    limits, bad = oracle.history(swept_files(), whole=True)
    assert set(keyed(rows_of(unfolded, "ztf.upper"))) == limits
    assert set(keyed(rows_of(unfolded, "ztf.uppervalid"))) == bad


def test_an_ingest_counts_the_limits_that_it_leaves_out(swept: Opened) -> None:
    stored, every = (oracle.history(swept_files(), whole=whole) for whole in (False, True))
    counts = [len(all_of - some) for all_of, some in zip(every, stored, strict=True)]
    assert all(counts)
    assert swept.reports[0].left_out == dict(zip(("ztf.upper", "ztf.uppervalid"), counts, strict=True))


def test_any_order_of_files_gives_the_same_rows(open_store: Callable[..., Opened], store_kind: str) -> None:
    digests = set()
    for number in range(3 if store_kind == "embedded" else 2):
        opened = open_store(f"order{number}")
        for turn in range(2):
            order = random.Random(10 * number + turn).sample(swept_files(), len(swept_files()))
            put(opened, *order)
            digests.add(digest(rows_of(opened)))
    assert len(digests) == 1


@pytest.mark.deep
def test_files_one_by_one_in_any_order_give_the_same_points_and_alerts(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    alerts = alerts_of(TDE)
    order = sorted(range(len(alerts)), key=lambda row: alerts["candidate"][row].as_py()["jd"])
    parts = [saved(alerts.take(pa.array(order[a:b])), tmp_path / f"{a}.parquet") for a, b in ((0, 7), (7, 14), (14, 21))]
    found = set()
    for number, some in enumerate(itertools.permutations([*parts, NIGHT])):
        opened = open_store(f"turn{number}")
        for file in some:
            put(opened, file)
        found.add(digest(rows_of(opened)))
    together = open_store("together")
    put(together, *parts, NIGHT)
    assert found == {digest(rows_of(together))}


@pytest.mark.both_stores
def test_an_alert_takes_the_place_of_its_point_whenever_it_comes(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    alerts = alerts_of(TDE)
    order = sorted(range(len(alerts)), key=lambda row: alerts["candidate"][row].as_py()["jd"])
    early, late = (saved(alerts.take(pa.array(rows)), tmp_path / f"{rows[0]}.parquet") for rows in (order[:15], order[15:]))
    first, second = open_store("late first"), open_store("early first")
    put(first, late)
    before = keyed(rows_of(first))
    given = {f"{alert['objectId']}_{alert['candidate']['jd']!r}": alert for alert in oracle.read_alerts(early)}
    covered = set(before) & set(given)
    assert covered, "late alerts have earlier ones in their histories"
    assert all(before[key]["i:drb"] is None for key in covered)
    first.ingest(early)
    second.ingest(early)
    put(second, late)
    after = keyed(rows_of(first))
    assert all(after[key]["i:candid"] == given[key]["candid"] and after[key]["i:drb"] is not None for key in covered)
    assert {key: after[key] for key in given} == {key: keyed(rows_of(second))[key] for key in given}


def test_points_are_no_alerts_of_a_night(open_store: Callable[..., Opened]) -> None:
    plain, unfolded = open_store("plain"), open_store("unfolded")
    plain.ingest(NIGHT, MANY_AVRO)
    put(unfolded, NIGHT, MANY_AVRO)
    assert len(rows_of(unfolded)) > len(rows_of(plain))
    for opened in (plain, unfolded):
        count_nights(opened.store, load_catalog())
    assert digest(rows_of(unfolded, "statistics_class")) == digest(rows_of(plain, "statistics_class"))


def test_the_option_of_the_command(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["ingest", "--history", str(NIGHT), "--data", str(tmp_path / "store")])
    assert done.exit_code == 0
    alerts, points = {alert["candid"] for alert in oracle.read_alerts(NIGHT)}, points_of([NIGHT])
    keys = {f"{alert['objectId']}_{alert['candidate']['jd']!r}" for alert in oracle.read_alerts(NIGHT)}
    assert f"{len(alerts)} alerts of 1 file" in done.output
    assert f" {len(keys | set(points))} rows to ztf," in done.output
