"""Alerts of Rubin become rows: each table has the cells of its own struct, whatever files come in whatever order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alert_data import RUBIN, rubin_files
from archives import Opened, digest, open_embedded
from rubin_archives import MAIN, whole

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.columns import Projection
from flight_server.cli.ingest_remarks import ingest_remarks
from flight_server.ingest.files import AlertFiles, find_files
from flight_server.storage.scans import Scan

SURVEY = load_catalog().surveys["rubin"]
FILLED = {
    MAIN: 3,
    "rubin.diaObject": 3,
    "rubin.cutouts": 4,
    "rubin.pixel1024": 3,
    "rubin.diaSource_sso": 1,
    "rubin.mpc_orbits": 1,
    "rubin.sso_resolver": 1,
}
NOT_STORED = {"brokerIngestMjd", "brokerStartProcessTimestamp", "brokerEndProcessTimestamp", "timestamp", "publisher"}
NOT_STORED |= {"year", "month", "day", "lc_features", "tns_type_recomputed"}


def keys(archive: Opened, table: str) -> list[str]:
    found = archive.store.view().scan(Scan(table=load_catalog().table(table), columns=Projection()))
    return [key.decode() for rows in found for key in rows.keys.tolist()]


def test_what_ingest_reports(open_store: Callable[..., Opened]) -> None:
    report = open_store().ingest(RUBIN)
    tagged = {name: count for name, count in report.rows.items() if name.startswith("rubin.tag_")}
    assert {**report.rows} == FILLED | tagged
    assert report.not_stored == NOT_STORED
    assert (report.alerts, report.failures, report.unreadable, report.sharing.alerts) == (4, {}, {}, ())
    assert not report.rounded


def test_row_keys_are_those_of_the_broker(opened: Opened, alerts: list[dict[str, Any]]) -> None:
    sources = [alert["diaSource"] for alert in alerts]
    objects = [source for source in sources if source["diaObjectId"]]
    assert keys(opened, MAIN) == sorted(
        f"{source['diaObjectId'] % 1000:03}_{source['diaObjectId']}_{source['midpointMjdTai']!r}" for source in objects
    )
    assert keys(opened, "rubin.diaObject") == sorted(f"{one['diaObjectId'] % 1000:03}_{one['diaObjectId']}" for one in objects)
    assert keys(opened, "rubin.cutouts") == sorted(f"{one['diaSourceId'] % 1000:03}_{one['diaSourceId']}" for one in sources)
    (moving,) = (alert for alert in alerts if alert["diaSource"]["ssObjectId"])
    assert keys(opened, "rubin.diaSource_sso") == [f"06_K06T06K_{moving['diaSource']['midpointMjdTai']!r}"]
    assert keys(opened, "rubin.mpc_orbits") == ["06_K06T06K"]
    assert keys(opened, "rubin.sso_resolver") == ["203_21163633152112203"]
    firsts = {alert["diaSource"]["diaObjectId"]: alert["misc"]["firstDiaSourceMjdTaiFink"] for alert in alerts}
    for key in keys(opened, "rubin.pixel1024"):
        pixel, first, name = key.split("_")
        assert 0 <= int(pixel) < 12 * 1024**2
        assert firsts[int(name)] == float(first)


def cells_of(alert: dict[str, Any], *structs: str) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for struct in reversed(structs):
        cells |= {f"r:{name}": value for name, value in alert[struct].items()}
    cells |= {f"f:{kind}_{name}": value for kind in ("xm", "clf") for name, value in alert[kind].items()}
    cells |= {f"f:{name}": value for kind in ("pred", "misc") for name, value in alert[kind].items()}
    cells |= {f"r:{name}": alert[name] for name in ("observation_reason", "target_name")}
    return cells | {f"f:{name}": alert[name] for name in ("fink_broker_version", "fink_science_version", "lsst_schema_version")}


@pytest.mark.parametrize(
    ("table", "structs", "count"),
    [
        (MAIN, ("diaSource",), 131),
        ("rubin.diaObject", ("diaObject",), 91),
        ("rubin.pixel1024", ("diaSource", "diaObject"), 213),
        ("rubin.diaSource_sso", ("diaSource", "ssSource", "mpc_orbits"), 138),
        ("rubin.mpc_orbits", ("mpc_orbits",), 55),
    ],
)
def test_each_cell_is_that_of_the_alert(
    opened: Opened, alerts: list[dict[str, Any]], table: str, structs: tuple[str, ...], count: int
) -> None:
    rows = whole(opened, table)
    assert rows.num_columns == count
    name = "r:diaObjectId" if "r:diaObjectId" in rows.column_names else "r:packed_primary_provisional_designation"
    by_id = {cells_of(alert, *structs)[name]: cells_of(alert, *structs) for alert in alerts}
    for row in rows.to_pylist():
        cells = by_id[row[name]]
        made = {"r:salt": f"{row[name] % 1000:03}" if name == "r:diaObjectId" else None}
        for column, value in row.items():
            if column == "f:pixel1024":
                continue
            wanted = made.get(column, cells.get(column))
            if isinstance(value, float) and rows.schema.field(column).type == pa.float32() and wanted is not None:
                wanted = float(np.float32(wanted))
            assert value == wanted, column


def test_files_in_any_order_and_again_give_the_same_tables(tmp_path: Path) -> None:
    files = rubin_files()
    stores = []
    for number, order in enumerate((files, files[::-1])):
        stores.append(open_embedded(tmp_path / str(number)))
        for some in (order[:2], order):
            assert not stores[-1].ingest(*some).failures
    for table in SURVEY.tables:
        first, second = (whole(store, table) for store in stores)
        assert digest(first) == digest(second), table
    for store in stores:
        store.store.close()


def test_all_alerts_at_hand_are_stored_with_their_ids(tmp_path: Path) -> None:
    archive = open_embedded(tmp_path)
    report = archive.ingest(*rubin_files())
    assert not report.failures
    ids: set[tuple[int, int]] = set()
    with AlertFiles() as files:
        for found in find_files(rubin_files()):
            table = files.open(files.parts(found)[0].content).read(SURVEY.alerts, frozenset())
            sources = table["diaSource"].combine_chunks()
            ids |= set(zip(*(sources.field(name).to_pylist() for name in ("diaSourceId", "diaObjectId")), strict=True))
    places = whole(archive, "rubin.cutouts")
    assert sorted(zip(places["r:diaSourceId"].to_pylist(), places["r:diaObjectId"].to_pylist(), strict=True)) == sorted(ids)
    objects = {one for _, one in ids if one}
    assert set(whole(archive, MAIN)["r:diaObjectId"].to_pylist()) == objects
    assert set(whole(archive, "rubin.diaObject")["r:diaObjectId"].to_pylist()) <= objects, "some files have them rounded"
    archive.store.close()


def test_a_point_of_a_history_is_stored_once(open_store: Callable[..., Opened], alerts: list[dict[str, Any]]) -> None:
    archive = open_store()
    for _ in range(2):
        assert not archive.ingest(RUBIN, history=True).failures
    sources = {(one["diaObjectId"], one["midpointMjdTai"]): one for alert in alerts for one in alert["prvDiaSources"] or ()}
    own = {(alert["diaSource"]["diaObjectId"], alert["diaSource"]["midpointMjdTai"]) for alert in alerts} - sources.keys()
    rows = whole(archive, MAIN)
    assert len(rows) == len(sources) + sum(name > 0 for name, _ in own)
    for row in rows.select(
        ["r:diaObjectId", "r:midpointMjdTai", "r:diaSourceId", "r:psfFlux", "f:lsst_schema_version"]
    ).to_pylist():
        point = sources.get((row["r:diaObjectId"], row["r:midpointMjdTai"]))
        assert (row["f:lsst_schema_version"] is None) == (point is not None)
        if point is not None:
            assert (row["r:diaSourceId"], row["r:psfFlux"]) == (point["diaSourceId"], float(np.float32(point["psfFlux"])))
    forced = {one["diaForcedSourceId"]: one for alert in alerts for one in alert["prvDiaForcedSources"] or ()}
    found = {row["r:diaForcedSourceId"]: row for row in whole(archive, "rubin.fp").to_pylist()}
    assert found.keys() == forced.keys()
    for name, row in found.items():
        assert row["r:salt"] == f"{row['r:diaObjectId'] % 1000:03}"
        assert {column.partition(":")[2]: value for column, value in row.items() if column != "r:salt"} == forced[name]


def test_without_history_no_point_is_stored(opened: Opened) -> None:
    assert len(whole(opened, "rubin.fp")) == 0
    assert len(whole(opened, MAIN)) == 3


def test_new_fields_of_a_struct_become_columns_of_its_tables(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    opened = open_store()
    assert not opened.ingest(RUBIN).failures
    table = pq.read_table(RUBIN)
    for struct in ("diaSource", "diaObject"):
        place = table.schema.get_field_index(struct)
        held = table.column(place).combine_chunks()
        more = pa.array([f"{struct}{number}" for number in range(len(table))])
        fields = [*held.type, pa.field(f"new{struct}", pa.string())]
        table = table.set_column(place, struct, pa.StructArray.from_arrays([*held.flatten(), more], fields=fields))
    pq.write_table(table, tmp_path / "new.parquet")
    assert not opened.ingest(tmp_path / "new.parquet").failures
    opened.archive.refresh()
    assert whole(opened, MAIN)["r:newdiaSource"].to_pylist() == ["diaSource1", "diaSource2", "diaSource3"]
    assert "r:newdiaObject" in whole(opened, "rubin.diaObject").column_names
    assert "r:newdiaObject" not in whole(opened, MAIN).column_names
    assert "r:newdiaSource" not in whole(opened, "rubin.diaObject").column_names


def test_ids_that_were_rounded_are_refused_by_name(tmp_path: Path) -> None:
    table = pq.read_table(RUBIN)
    held = table["diaSource"].combine_chunks()
    place = held.type.get_field_index("diaObjectId")
    parts = held.flatten()
    parts[place] = parts[place].cast(pa.float64(), safe=False)
    fields = [field.with_type(part.type) for field, part in zip(held.type, parts, strict=True)]
    table = table.set_column(
        table.schema.get_field_index("diaSource"), "diaSource", pa.StructArray.from_arrays(parts, fields=fields)
    )
    pq.write_table(table, tmp_path / "rounded.parquet")
    archive = open_embedded(tmp_path / "store")
    (reason,) = archive.ingest(tmp_path / "rounded.parquet").failures.values()
    assert "r:diaObjectId, row 1" in reason
    assert "write the column as integers" in reason
    archive.store.close()


def test_alerts_of_no_object_are_told(tmp_path: Path) -> None:
    table = pq.read_table(RUBIN).slice(0, 1)  # the one of the solar system
    table = table.set_column(table.schema.get_field_index("mpc_orbits"), "mpc_orbits", pa.nulls(1, table["mpc_orbits"].type))
    pq.write_table(table, tmp_path / "nobody.parquet")
    archive = open_embedded(tmp_path / "store")
    report = archive.ingest(tmp_path / "nobody.parquet")
    assert report.unplaced == table["diaSourceId"].to_pylist()
    assert report.rows == {"rubin.cutouts": 1}
    assert any("1 alerts are of no known object" in line for line in ingest_remarks(report))
    archive.store.close()
