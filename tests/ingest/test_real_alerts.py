"""All available real alerts, ingested and read back, against the oracle."""

from __future__ import annotations

import gzip
import json
import math
import random
from collections.abc import Callable

import oracle
import pyarrow as pa
import pytest
from alert_data import GOLDEN, swept_files
from archives import Opened, digest
from depth import is_thorough

from flight_server.catalog.catalog import load_catalog
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query


def whole(opened: Opened, table: str, **fields: object) -> tuple[pa.Table, dict]:
    answer = opened.archive.answer(Query(table=table, all=True, digest=True, **fields), Caller())
    messages = list(answer.messages)
    return pa.Table.from_batches([message.batch for message in messages], schema=answer.schema), messages[-1].metadata


@pytest.mark.both_stores
def test_every_cell_of_every_alert_is_there_and_no_other(swept: Opened) -> None:
    rows, record = whole(swept, "ztf")
    catalog = swept.archive.catalog()
    columns = catalog.stored_columns(catalog.table("ztf"))
    expected = oracle.expected_tables(swept_files(), columns)
    assert record["rows"] == len(rows) == len(expected)
    found = {f"{row['i:objectId']}_{row['i:jd']!r}": row for row in rows.to_pylist()}
    assert list(found) == sorted(expected), "rows come in the byte order of their keys"
    checked = 0
    for key, row in found.items():
        for name, value in row.items():
            if name.startswith("d:lc_features"):
                continue
            shown = "NaN" if isinstance(value, float) and math.isnan(value) else value
            assert shown in expected[key].get(name, {None}), (key, name)
            checked += value is not None
    assert checked > 100 * len(expected)


@pytest.mark.both_stores
def test_no_column_of_the_files_is_lost(swept: Opened) -> None:
    catalog = swept.archive.catalog()
    columns = set(catalog.stored_columns(catalog.table("ztf")))
    in_files = {name for file in swept_files() for alert in oracle.read_alerts(file) for name in oracle.alert_cells(alert)}
    dropped = catalog.surveys["ztf"].alerts.not_stored
    assert {name for name in in_files - columns if name.partition(":")[2] not in dropped} == set()


@pytest.mark.both_stores
def test_stamps_come_back_byte_for_byte(swept: Opened) -> None:
    rows, record = whole(swept, "ztf", columns=("i:candid",), cutouts=("Science", "Template", "Difference"))
    expected = oracle.stamps(swept_files())
    assert record["missing_cutouts"] == 0
    for row in rows.to_pylist():
        for kind in ("Science", "Template", "Difference"):
            assert row[f"b:cutout{kind}_stampData"] in expected[row["i:candid"], kind]


@pytest.mark.both_stores
def test_histories_are_sorted_by_the_brokers_rule(swept: Opened) -> None:
    upper, bad = oracle.history(swept_files())
    for table, keys in (("ztf.upper", upper), ("ztf.uppervalid", bad)):
        rows, _ = whole(swept, table)
        assert {f"{row['i:objectId']}_{row['i:jd']!r}" for row in rows.to_pylist()} == keys
        assert len(rows) == len(keys) > 0


@pytest.mark.skipif(not GOLDEN.exists() or not is_thorough(), reason="needs --all, and the public service's cells at hand")
def test_history_points_have_the_cells_that_the_public_service_had(swept: Opened) -> None:
    # its cells were made from every history point; the broker's rule leaves out histories that end in a good detection
    golden = json.loads(gzip.decompress(GOLDEN.read_bytes()))
    compared = 0
    for table in ("ztf.upper", "ztf.uppervalid"):
        rows, _ = whole(swept, table)
        found = {f"{row['i:objectId']}_{row['i:jd']!r}": row for row in rows.to_pylist()}
        for key in set(golden[table]) & set(found):
            for name, text in golden[table][key].items():
                value = found[key][name]
                same = value == text if isinstance(value, str) else value == pytest.approx(float(text), rel=1e-6)
                assert same, (key, name)
                compared += 1
    assert compared > 250


@pytest.mark.both_stores
def test_types_are_the_catalogs_whatever_the_files_say(swept: Opened) -> None:
    rows, _ = whole(swept, "ztf")
    known = load_catalog().known["ztf"]
    for field in rows.schema:
        if field.name in known:
            assert field.type == known[field.name].type
    assert sum(name in known for name in rows.schema.names) > 100


def contents(opened: Opened) -> dict[str, str]:
    """Return the digest of each table and of the cutouts, without the names of blocks, which differ between stores."""
    found = {table: whole(opened, table)[0] for table in load_catalog().surveys["ztf"].tables}
    found["ztf.cutouts"] = found["ztf.cutouts"].drop_columns(["d:hdfs_path"])
    found["stamps"] = whole(opened, "ztf", columns=("i:candid",), cutouts=("Science", "Template", "Difference"))[0]
    return {table: digest(rows) for table, rows in found.items()}


@pytest.mark.both_stores
def test_any_order_of_files_any_number_of_times_gives_the_same_tables(
    swept: Opened, open_store: Callable[..., Opened], store_kind: str
) -> None:
    expected = contents(swept)
    files = swept_files()
    orders = [files[::-1], random.Random(7).sample(files, len(files))][: 2 if store_kind == "embedded" else 1]
    for number, order in enumerate(orders):
        opened = open_store(f"order{number}")
        for _ in range(2):
            opened.ingest(*order)
            assert contents(opened) == expected
        assert not any(opened.reports[-1].rows.values()), "an equal row is not written again"
    having = [table for table in expected if table == "stamps" or len(whole(swept, table)[0])]
    assert len({expected[table] for table in having}) == len(having) > 8


@pytest.mark.both_stores
def test_lists_of_features_are_text_in_the_brokers_order(swept: Opened) -> None:
    names = load_catalog().surveys["ztf"].alerts.nested["lc_features_g"].text
    rows, _ = whole(swept, "ztf", columns=("i:candid", "d:lc_features_g"))
    found = {row["i:candid"]: row["d:lc_features_g"] for row in rows.to_pylist()}
    compared = 0
    for file in swept_files():
        for alert in oracle.read_alerts(file):
            features = alert.get("lc_features_g")
            if features and found[alert["candid"]]:
                items = found[alert["candid"]].strip("[]").split(", ")
                assert len(items) == len(names)
                for name, text in zip(names, items, strict=True):
                    value = features[name]
                    shown = None if text == "null" else float(text.replace("Infinity", "inf"))
                    assert shown == value or (math.isnan(shown) and math.isnan(value)), (name, text)
                    compared += 1
    assert compared > 100
