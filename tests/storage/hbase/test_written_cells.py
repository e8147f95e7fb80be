"""The cells that ingest writes to HBase, byte for byte as in the broker's tables; read without the product."""

from __future__ import annotations

import gzip
import json
import math
import struct
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import oracle
import pyarrow as pa
import pytest
from alert_data import GOLDEN, SAMPLES, TDE, alert_files, swept_folder
from archives import digest
from changed_alerts import alerts_of, saved, with_fields

from flight_server.catalog.catalog import load_catalog
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query
from flight_server.storage.hbase.schema_rows import WRITER

FILES = alert_files(SAMPLES)
# the broker's names of types and how cells of each are packed
PACKED: dict[str, Callable[[Any], bytes]] = {
    "string": lambda value: value.encode(),
    "integer": lambda value: struct.pack(">i", value),
    "long": lambda value: struct.pack(">q", value),
    "float": lambda value: struct.pack(">f", math.nan if value == "NaN" else value),
    "double": lambda value: struct.pack(">d", math.nan if value == "NaN" else value),
    "boolean": lambda value: b"true" if value else b"false",
}
NAMES = {"int32": "integer", "int64": "long", "float": "float", "double": "double", "string": "string", "bool": "boolean"}
TABLES = ("ztf", "ztf.cutouts", "ztf.upper", "ztf.uppervalid")
FILLERS = {"0", "0.0", "-1.0", "false", "Unknown"}  # what the public service has where the file has nothing


def types(table: str) -> dict[str, str]:
    """Return the broker's type name of each column of a table in the catalog."""
    declared = load_catalog().table(table)
    known = load_catalog().known["ztf"]
    return {name: NAMES[str(known[name].type)] for name in declared.columns or known if str(known[name].type) in NAMES}


def packed(kind: str, value: Any) -> bytes:
    if kind in {"float", "double"}:
        return PACKED[kind]("NaN" if isinstance(value, float) and math.isnan(value) else value)
    return PACKED[kind](value)


def test_every_cell_of_every_alert_has_the_brokers_bytes(ingested: Any) -> None:
    stored = {name: kind.decode() for _, row in ingested.schema_rows("ztf").items() for name, (kind, _) in row.items()}
    columns = ingested.open().archive.catalog().stored_columns(load_catalog().table("ztf"))
    expected = oracle.expected_tables(FILES, columns)
    found = ingested.cells("ztf")
    assert [key.decode() for key in found] == sorted(expected)
    kinds = set()
    for key, row in found.items():
        wanted = expected[key.decode()]
        assert {name for name in row if not name.startswith("d:lc_features")} == set(wanted), "nulls are not written"
        for name, values in wanted.items():
            assert row[name].value in {packed(stored[name], value) for value in values}, (key, name)
            kinds |= {stored[name], *(["NaN"] if "NaN" in values else [])}
    assert kinds >= {"string", "integer", "long", "float", "double", "NaN"}


def test_keys_are_the_id_and_the_time_in_javas_shortest_decimals(ingested: Any) -> None:
    for table in TABLES:
        for key, row in ingested.cells(table).items():
            (jd,) = struct.unpack(">d", row["i:jd"].value)
            assert key == row["i:objectId"].value + b"_" + repr(jd).encode()


def history_cells() -> dict[str, dict[str, dict[str, set[bytes]]]]:
    """Return the possible cells of points of histories, by table, key and column."""
    found: dict[str, dict[str, dict[str, set[bytes]]]] = {}
    for table, wanted in (("ztf.upper", oracle.is_limit), ("ztf.uppervalid", oracle.is_bad)):
        rows: dict[str, dict[str, set[bytes]]] = defaultdict(lambda: defaultdict(set))
        for file in FILES:
            for alert in oracle.read_alerts(file):
                points = alert.get("prv_candidates") or []
                for point in points if points and wanted(points[-1]) else []:
                    if wanted(point):
                        cells = {f"i:{name}": value for name, value in point.items()} | {"i:objectId": alert["objectId"]}
                        for name, kind in types(table).items():
                            if cells.get(name) is not None:
                                rows[f"{alert['objectId']}_{point['jd']!r}"][name].add(packed(kind, cells[name]))
        found[table] = rows
    return found


def test_points_of_histories_have_the_brokers_bytes(ingested: Any) -> None:
    for table, expected in history_cells().items():
        found = ingested.cells(table)
        assert {key.decode() for key in found} == set(expected)
        for key, row in found.items():
            wanted = expected[key.decode()]
            assert set(row) == set(wanted)
            assert all(row[name].value in values for name, values in wanted.items()), key


def test_each_table_has_one_row_that_names_the_types(ingested: Any) -> None:
    newest = max(oracle.version(oracle.alert_cells(alert)) for file in FILES for alert in oracle.read_alerts(file))
    name = "schema_" + "_".join(".".join(map(str, numbers)) for numbers in newest)
    for table in TABLES:
        rows = ingested.schema_rows(table)
        assert [key.decode() for key in rows] == [name]
        named = {column: kind.decode() for column, (kind, _) in rows[name.encode()].items()}
        used = {column for row in ingested.cells(table).values() for column in row}
        assert used <= set(named)
        known = types(table)
        assert {column: kind for column, kind in named.items() if column in known} == {c: known[c] for c in named if c in known}
        assert set(named.values()) <= set(PACKED)


def test_tables_are_made_with_their_families_and_splits(ingested: Any) -> None:
    for table in load_catalog().surveys["ztf"].tables.values():
        starts = [region.start.decode() for region in ingested.stores.admin.regions(ingested.prefix + table.name)]
        assert starts == ["", *table.splits]
        families = {column.partition(":")[0] for row in ingested.schema_rows(table.name).values() for column in row}
        named = {name.partition(":")[0] for name in table.columns or ("i:",) if name not in table.key_only}
        assert named <= families <= set(table.families)


def test_blocks_are_the_files_alerts_whole_a_folder_for_each_night(ingested: Any) -> None:
    files = ingested.files()
    blocks = {path: pa.parquet.read_table(pa.BufferReader(content)) for path, content in files.items()}
    url = ingested.stores.cluster.hdfs
    placed = {(row["i:objectId"].value.decode(), struct.unpack(">q", row["i:candid"].value)[0]): row
              for row in ingested.cells("ztf.cutouts").values()}  # fmt: skip
    used = set()
    nights = set()
    for file in FILES:
        for alert in oracle.read_alerts(file):
            uri = placed.pop((alert["objectId"], alert["candid"]))["d:hdfs_path"].value.decode()
            assert uri.startswith(f"{url}/{ingested.prefix}/science/")
            path = urlsplit(uri).path
            time = datetime(2000, 1, 1, 12, tzinfo=UTC) + timedelta(days=alert["candidate"]["jd"] - 2451545.0)
            assert f"/science/year={time:%Y}/month={time:%m}/day={time:%d}/part-" in path
            used.add(path)
            nights.add(f"{time:%Y%m%d}")
            block = blocks[path]
            same = pa.compute.and_(
                pa.compute.equal(block["objectId"], alert["objectId"]), pa.compute.equal(block["candid"], alert["candid"])
            )
            (held,) = block.filter(same).to_pylist()
            assert set(held) == set(alert), "every column is kept"
            assert {name: plain(value) for name, value in held.items()} == {name: plain(value) for name, value in alert.items()}
            assert held["cutoutScience"]["stampData"]
    assert not placed
    assert used == set(blocks), "no file is left over"
    assert len(nights) > 5
    assert sum(len(block) for block in blocks.values()) == 108


def plain(value: Any) -> Any:
    """Return a nested value in a comparable form: NaN equals NaN, and times of all libraries are comparable."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat()
    return repr(value)


def test_a_second_ingest_writes_nothing(ingested: Any) -> None:
    before = {table: versions(ingested, table) for table in TABLES}
    files = {path: file.modification_time for path, file in listed(ingested).items()}
    said = ingested.ingest(SAMPLES)
    assert "nothing new" in said
    assert {table: versions(ingested, table) for table in TABLES} == before
    assert {path: file.modification_time for path, file in listed(ingested).items()} == files


def versions(ingested: Any, table: str) -> list[Any]:
    """Return all versions of cells, without those by which ingests wait for each other."""
    return [one for one in ingested.stores.admin.versions(ingested.prefix + table) if one[0] != WRITER.encode()]


def listed(ingested: Any) -> dict[str, Any]:
    return {file.path: file for file in ingested.hdfs.list_status(f"/{ingested.prefix}", recursive=True) if not file.isdir}


def test_a_newer_version_replaces_its_cells_alone(empty: Any, tmp_path: Any) -> None:
    opened = empty.open()
    opened.ingest(TDE)
    before, blocks = empty.cells("ztf"), empty.files()
    alerts = alerts_of(TDE)
    newer = with_fields(
        alerts,
        fink_broker_version=pa.array(["9.10"] * 21),
        cdsxmatch=pa.array(["QSO"] * 20 + [None]),
        brand_new=pa.array([True] * 20 + [False]),
        cutoutScience=None,
    )
    opened.ingest(saved(newer, tmp_path / "newer.parquet"))
    assert empty.files() == blocks, "stamps that are there are not written again"
    after = empty.cells("ztf")
    rewritten = {"i:fink_broker_version", "d:brand_new", "d:cdsxmatch"}
    assert list(after) == list(before)
    labels = []
    for key, row in after.items():
        assert row["i:fink_broker_version"].value == b"9.10"
        assert row["d:brand_new"].value in {b"true", b"false"}
        labels.append(row["d:cdsxmatch"].value)
        for name, cell in before[key].items():
            assert row[name].value == cell.value or name in rewritten
        assert set(row) == set(before[key]) | rewritten
    assert labels.count(b"QSO") == 20, "a null overwrites nothing"
    assert [key.decode() for key in empty.schema_rows("ztf")][-1].startswith("schema_9.10_")


@pytest.mark.skipif(not GOLDEN.exists(), reason="the public service's cells are not at hand")
def test_cells_are_those_of_the_public_service(empty: Any) -> None:
    golden = json.loads(gzip.decompress(GOLDEN.read_bytes()))
    empty.open().ingest(swept_folder())
    schema = golden["schema"]["ztf"]
    compared = 0
    for table in TABLES:
        found = {key.decode(): row for key, row in empty.cells(table).items()}
        for key in set(golden[table]) & set(found):
            row = {
                name: unpacked(schema.get(name, types(table).get(name, "string")), cell.value)
                for name, cell in found[key].items()
            }
            for name, text in golden[table][key].items():
                if name == "d:hdfs_path" or name.startswith("d:lc_features"):  # lists, which are spelled in another way there
                    continue
                assert same(row[name], text) if name in row else text in FILLERS, (table, key, name)
                compared += name in row
    assert compared > 4500


def unpacked(kind: str, cell: bytes) -> Any:
    if kind in {"string", "boolean"}:
        return cell.decode()
    return struct.unpack({"integer": ">i", "long": ">q", "float": ">f", "double": ">d"}[kind], cell)[0]


def same(value: Any, text: str) -> bool:
    if isinstance(value, str):
        return value == text
    if isinstance(value, int):
        return value == int(text)
    return value == pytest.approx(float(text), rel=1e-6, nan_ok=True)


def test_stamps_are_read_from_blocks_that_were_moved(empty: Any) -> None:
    empty.open().ingest(TDE)
    whole = stamps(empty.open())
    hdfs, url = empty.hdfs, empty.stores.cluster.hdfs
    here, there = f"/{empty.prefix}/science", f"/{empty.prefix}/moved/to/another"
    hdfs.mkdirs(there.rpartition("/")[0], 0o755, create_parent=True)
    hdfs.rename(here, there)
    assert failures(empty.open()) == {"block_missing"}
    for rewrite in (
        {f"{url}{here}": f"{url}{there}"},
        {f"{url}{here}": there},
        {"hdfs://": "hdfs://wrong", url: "wrong", f"{url}{here}/year=2020": f"{there}/year=2020"},
    ):
        moved = stamps(empty.open(hdfs={"rewrite": rewrite}))
        assert digest(moved) == digest(whole)
    assert failures(empty.open(hdfs={"rewrite": {"hdfs://other": there}})) == {"block_missing"}
    # a block is read from the name node of the settings, whatever host its URI names
    for key, row in empty.cells("ztf.cutouts").items():
        old = row["d:hdfs_path"].value.decode()
        new = old.replace(url, "hdfs://134.158.75.222:8020").replace(here, there)
        empty.stores.admin.put(f"{empty.prefix}ztf.cutouts", key, {"d:hdfs_path": new.encode()})
    assert digest(stamps(empty.open())) == digest(whole)


def test_no_block_is_read_outside_of_the_roots(empty: Any) -> None:
    empty.open().ingest(TDE)
    whole = stamps(empty.open())
    archive = f"/{empty.prefix}"
    for roots in ([archive], ["/elsewhere", f"{archive}/science"], [f"{archive}/science/year=2020/"], ["/"]):
        assert digest(stamps(empty.open(hdfs={"roots": roots}))) == digest(whole)
    for roots in (["/elsewhere"], [f"{archive}/scienc"], [f"{archive}/science/year=2021"], []):
        assert "outside of the folders in hdfs.roots" in refused(empty.open(hdfs={"roots": roots}))
    key, row = next(iter(empty.cells("ztf.cutouts").items()))
    name = row["d:hdfs_path"].value.decode().replace("/science/", "/science/../science/")
    empty.stores.admin.put(f"{empty.prefix}ztf.cutouts", key, {"d:hdfs_path": name.encode()})
    assert "outside of the folders" in refused(empty.open(hdfs={"roots": [archive]}))


def asked(opened: Any) -> tuple[pa.Table, dict[str, Any]]:
    query = Query(table="ztf", all=True, columns=("i:candid",), cutouts=("Science", "Difference"))
    answer = opened.archive.answer(query, Caller())
    messages = list(answer.messages)
    return pa.Table.from_batches([message.batch for message in messages], schema=answer.schema), messages[-1].metadata


def stamps(opened: Any) -> pa.Table:
    table, record = asked(opened)
    assert record["cutout_errors"] == {}
    assert table["b:cutoutScience_stampData"].null_count == 0
    return table


def failures(opened: Any) -> set[str]:
    """Return the reasons for which all of the cutouts failed."""
    table, record = asked(opened)
    assert len(record["failed_cutouts"]) == 2 * len(table)
    assert table["b:cutoutScience_stampData"].null_count == len(table)
    return set(record["cutout_errors"])


def refused(opened: Any) -> str:
    from flight_server.protocol.errors import CorruptData

    with pytest.raises(CorruptData) as caught:
        stamps(opened)
    assert caught.value.field == "cutouts"
    return caught.value.message
