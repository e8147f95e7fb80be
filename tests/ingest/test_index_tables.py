"""The index tables by position, class, name and date: every real alert, against the oracle."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path

import index_oracle
import oracle
import pyarrow as pa
import pytest
from alert_data import NIGHT, TDE, swept_files
from archives import Opened, digest
from changed_alerts import alerts_of, saved, with_candidates, with_fields

from flight_server.storage.keys import key_expression
from flight_server.storage.scans import Scan

TABLES = list(index_oracle.RULES)


def whole(opened: Opened, table: str) -> tuple[list[str], pa.Table]:
    """Return all row keys and rows of a table, in order."""
    catalog = opened.archive.catalog()
    scan = Scan(table=catalog.table(table), columns=catalog.columns(catalog.table(table), None))
    parts = [some for some in opened.store.view().scan(scan) if len(some.batch)]
    keys = [key.decode() for some in parts for key in some.keys.tolist()]
    return keys, pa.Table.from_batches([some.batch for some in parts], schema=scan.schema)


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, list[oracle.Cells]]]:
    return index_oracle.versions(swept_files())


@pytest.mark.both_stores
@pytest.mark.parametrize("table", TABLES)
def test_each_table_has_the_alerts_that_it_is_for_under_their_keys(
    swept: Opened, expected: dict[str, dict[str, list[oracle.Cells]]], table: str
) -> None:
    keys, _ = whole(swept, table)
    assert keys == sorted(expected[table], key=str.encode)
    assert len(keys) > 0 or table in {"ztf.tns", "ztf.tracklet", "ztf.low_state_blazars", "ztf.high_state_blazars", "ztf.slsn"}


@pytest.mark.both_stores
@pytest.mark.parametrize("table", TABLES)
def test_each_row_has_the_cells_of_its_alert_and_no_other(
    swept: Opened, expected: dict[str, dict[str, list[oracle.Cells]]], table: str
) -> None:
    keys, rows = whole(swept, table)
    catalog = swept.archive.catalog()
    columns = catalog.stored_columns(catalog.table(table))
    for key, row in zip(keys, rows.to_pylist(), strict=True):
        merged = oracle._merge(expected[table][key], columns)
        for name, value in row.items():
            if not name.startswith("d:lc_features"):
                shown = "NaN" if isinstance(value, float) and math.isnan(value) else value
                assert shown in merged.get(name, {None}), (key, name)


@pytest.mark.both_stores
def test_the_columns_are_those_of_the_public_service(swept: Opened) -> None:
    catalog = swept.archive.catalog()
    names = {table: set(catalog.stored_columns(catalog.table(table))) for table in TABLES}
    main = set(catalog.stored_columns(catalog.table("ztf")))
    assert len(names["ztf.pixel128"]) == 14
    for table in ("ztf.class", "ztf.ssnamenr"):
        assert sum(name.startswith("i:") for name in names[table]) == 36
    assert names["ztf.class"] - {"d:classification"} < main
    assert {name for name in main if name.startswith("d:")} <= names["ztf.class"]
    assert sum(name.startswith("i:") for name in names["ztf.anomaly"]) == 108
    assert "d:classification" not in names["ztf.tns"] | names["ztf.anomaly"] | main


def changed(folder: Path) -> list[Path]:
    """Return files of alerts that meet predicates which few real alerts meet."""
    alerts = alerts_of(TDE)
    n = len(alerts)
    shift = pa.array([0.0, 1.0, 2.0, 3.0] * (n // 4 + 1), pa.float64())[:n]
    blazar = pa.struct([(name, pa.float32()) for name in ("m0", "m1", "m2", "instantness_low", "robustness_low")])
    high = pa.struct([(name, pa.float32()) for name in ("m1", "instantness_high", "robustness_high")])
    lows = [
        {"m0": 2.0, "m1": value, "m2": other, "instantness_low": new, "robustness_low": new}
        for value, other, new in itertools.product((-1.0, 0.0, 0.99, 1.0), (-1.0, 0.5), (-1.0, 0.5, 1.0))
    ]
    highs = [
        {"m1": -1.0, "instantness_high": a, "robustness_high": b} for a, b in itertools.product((-1.0, 0.99, 1.0, 2.0), repeat=2)
    ]
    tracks = ["TRCK_20200831_090744_00", "None", "", None]
    scores = pa.array([-1.0, 0.49, 0.5, 1.0, None] * n, pa.float32())[:n]
    types = pa.array(["SN Ia", "SN Iax[02cx-like]", "", "nan", None, "TDE"] * n)[:n]
    return [
        saved(with_fields(alerts, blazar_stats=pa.array((lows * 2)[:n], blazar)), folder / "low.parquet"),
        saved(with_fields(alerts, blazar_stats=pa.array((highs * 2)[:n], high)), folder / "high.parquet"),
        saved(with_fields(alerts, tracklet=pa.array((tracks * n)[:n]), tns=types), folder / "names.parquet"),
        saved(with_fields(alerts, slsn_score=scores, anomaly_score=pa.array([-0.1, 0.0, None] * 7)), folder / "scores.parquet"),
        saved(with_candidates(alerts, jdstarthist=shift), folder / "shifted.parquet"),
    ]


@pytest.mark.both_stores
def test_rare_alerts_are_found_too(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    opened = open_store()
    found = []
    for number, file in enumerate(changed(tmp_path)):
        # files of their own objects, since versions of one alert merge
        alerts = alerts_of(file)
        names = pa.array([f"ZTF{number}{name}" for name in alerts["objectId"].to_pylist()])
        found.append(saved(with_fields(alerts, objectId=names), file))
    assert not opened.ingest(*found).failures
    wanted = index_oracle.versions(found)
    for table in TABLES:
        if table in {"ztf.tns", "ztf.ssnamenr"}:
            continue
        assert whole(opened, table)[0] == sorted(wanted[table], key=str.encode), table
    types = {key.split("_")[0] for key in whole(opened, "ztf.tns")[0]}
    assert types == {"SN Ia", "SN Iax[02cx-like]", "TDE"}
    assert len(whole(opened, "ztf.low_state_blazars")[0]) > 5 < len(whole(opened, "ztf.tracklet")[0]) * 9
    assert len(whole(opened, "ztf.high_state_blazars")[0]) > 3 < len(whole(opened, "ztf.slsn")[0])


def split(folder: Path) -> list[Path]:
    """Return an object's alerts in three files, the newest without some values, all with the same first detection."""
    alerts = alerts_of(TDE)
    order = sorted(range(len(alerts)), key=lambda row: alerts["candidate"][row].as_py()["jd"])
    parts = [order[:9], order[9:15], order[15:]]
    files = []
    for number, rows in enumerate(parts):
        part = alerts.take(pa.array(rows)).combine_chunks()
        n = len(part)
        # one pixel and first detection, so one row key; the last file's alerts have no class and no drb
        same = {"ra": pa.array([183.5] * n), "dec": pa.array([22.1] * n), "jdstarthist": pa.array([2459000.5] * n)}
        part = with_candidates(part, **same, **({"drb": pa.nulls(n, pa.float32())} if number == 2 else {}))
        if number == 2:
            part = with_fields(part, cdsxmatch=None, nalerthist=None)
        files.append(saved(part, folder / f"{number}.parquet"))
    return files


def test_the_newest_alert_of_an_object_stands_with_its_own_cells_in_every_order(
    open_store: Callable[..., Opened], tmp_path: Path
) -> None:
    files = split(tmp_path)
    ((key, held),) = index_oracle.versions(files)["ztf.pixel128"].items()
    seen = set()
    for number, order in enumerate(itertools.permutations(files)):
        opened = open_store(f"order{number}")
        for file in order:
            assert not opened.ingest(file).failures
        keys, rows = whole(opened, "ztf.pixel128")
        (row,) = rows.to_pylist()
        assert keys == [key]
        assert (row["i:candid"], row["i:jd"]) == (held[0]["i:candid"], held[0]["i:jd"])
        assert (row["i:drb"], row["d:cdsxmatch"], row["d:classification"], row["d:nalerthist"]) == (None, None, None, None)
        seen.add(digest(rows))
    together = open_store("together")
    together.ingest(*files)
    assert seen == {digest(whole(together, "ztf.pixel128")[1])}


@pytest.mark.both_stores
def test_the_newest_alert_stands_on_every_store(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    files = split(tmp_path)
    for number, order in enumerate((files, files[::-1])):
        opened = open_store(f"store{number}")
        for file in order:
            opened.ingest(file)
        _, rows = whole(opened, "ztf.pixel128")
        assert rows["i:candid"].to_pylist() == [index_oracle.versions(files)["ztf.pixel128"].popitem()[1][0]["i:candid"]]


def test_an_alert_without_a_place_is_in_the_other_tables(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    alerts = alerts_of(NIGHT).slice(0, 5).combine_chunks()
    places = {"ra": pa.array([1.0, None, float("nan"), 360.5, 2.0]), "dec": pa.array([90.0, 0.0, 0.0, 0.0, -90.5])}
    opened = open_store()
    assert not opened.ingest(saved(with_candidates(alerts, **places), tmp_path / "a.parquet")).failures
    assert len(whole(opened, "ztf")[0]) == 5
    (key,), _ = whole(opened, "ztf.pixel128")
    assert key.startswith("0_"), "the first pixel is at the pole"


def test_pixels_are_those_of_the_formulas() -> None:
    draw = random.Random(3)
    places = [(draw.uniform(0, 360), draw.uniform(-90, 90)) for _ in range(5000)]
    # near the poles, where rings end and where the two halves of the formula meet, but on no edge of a pixel
    places += itertools.product((0.01, 44.9, 90.1, 359.9999999, 360.0001), (-89.9, -41.9, 0.1, 41.7, 41.9, 89.9999))
    cells = {"ra": pa.array([ra for ra, _ in places]), "dec": pa.array([dec for _, dec in places])}
    for nside in (1, 128, 1024):
        keys = key_expression(f"{{healpix{nside}(ra,dec)}}_x").build(cells).to_pylist()
        assert keys == [f"{index_oracle.ring_pixel(ra, dec, nside)}_x" for ra, dec in places]
