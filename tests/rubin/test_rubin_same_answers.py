"""Random tickets on the tables of Rubin are answered alike by both stores."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from alert_data import RUBIN
from archives import Answered, Opened, digest, open_embedded
from hbase_stores import HBaseStores
from rubin_archives import MAIN, asking

from flight_server.catalog.catalog import load_catalog
from flight_server.protocol.errors import AlertflightError
from flight_server.simulate import simulate

TICKETS = 120
KINDS = ("Science", "Template", "Difference")
FEW = ("r:midpointMjdTai", "r:band", "r:psfFlux", "r:salt")
BY_OBJECT = (MAIN, "rubin.diaObject", "rubin.fp")
TABLES = [name for name, table in load_catalog().surveys["rubin"].tables.items() if table.rows != "loaded"]
OWN = {"as_of", "cursor", "cutout_bytes_read"}  # fields of records that are each store's own


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, hbase_stores: HBaseStores) -> Iterator[list[Opened]]:
    folder = tmp_path_factory.mktemp("pair")
    simulate(folder / "alerts", survey="rubin", objects=30, alerts_each=4, nights=4, seed=8, stamps=True, histories=False)
    stores = [open_embedded(folder / "store"), hbase_stores.open(hbase_stores.prefix())]
    for store in stores:
        assert not store.ingest(folder / "alerts").failures
        assert not store.ingest(RUBIN, history=True).failures
        store.archive.refresh()
    reports = [[report.rows for report in store.reports] for store in stores]
    assert reports[0] == reports[1]
    yield stores
    stores[0].store.close()


def answered(store: Opened, fields: dict[str, Any]) -> Answered | str:
    try:
        return asking(store)(**fields)
    except AlertflightError as error:
        return error.code


def check_same(stores: list[Opened], fields: dict[str, Any]) -> int:
    """Check that both answer a ticket alike; return the rows."""
    first, second = (answered(store, fields) for store in stores)
    if isinstance(first, str) or isinstance(second, str):
        assert first == second, fields
        return 0
    tables = [
        one.table.drop_columns([name for name in one.table.column_names if name == "r:hdfs_path"]) for one in (first, second)
    ]
    assert tables[0].schema.equals(tables[1].schema, check_metadata=True), fields
    assert digest(tables[0]) == digest(tables[1]), fields
    records = [{name: value for name, value in one.record.items() if name not in OWN} for one in (first, second)]
    assert records[0] == records[1], fields
    assert (first.record["cursor"] is None) == (second.record["cursor"] is None), fields
    return len(tables[0])


def test_whole_tables(pair: list[Opened]) -> None:
    for table in TABLES:
        rows = check_same(pair, {"table": table, "all": True})
        assert rows > 0 or table.startswith("rubin.tag_"), table


def test_random_tickets(pair: list[Opened]) -> None:
    chance = random.Random(5)
    ids = asking(pair[0])(table="rubin.diaObject", all=True, columns=["r:diaObjectId"]).table[0].to_pylist()
    places = asking(pair[0])(table="rubin.pixel1024", all=True, columns=["r:ra", "r:dec"]).table.to_pylist()
    times = asking(pair[0])(all=True, columns=["r:midpointMjdTai"]).table[0].to_pylist()
    tags = [name for name, tag in load_catalog().surveys["rubin"].tags.items() if not tag.livestream]
    rows = 0
    for _ in range(TICKETS):
        table = chance.choice(BY_OBJECT)
        place = chance.choice(places)
        selection: dict[str, Any] = chance.choice(
            [
                {"ids": [*chance.sample(ids, 5), 1, f"LSST-AP-DO-{chance.choice(ids)}"]},
                {"cone": {"ra": place["r:ra"], "dec": place["r:dec"], "radius": chance.choice([1, 3600, 18_000])}},
                {"all": True},
                {"table": MAIN, "tag": chance.choice(tags)},
                {"table": "rubin.diaSource_sso", "sso": chance.choice(["2006 TK6", "K06T06K", "2007 AB"])},
            ]
        )
        fields: dict[str, Any] = {"table": table} | selection
        if chance.random() < 0.5 and fields["table"] != "rubin.diaObject":
            fields |= {chance.choice(["start", "stop"]): chance.choice(times)}
        if chance.random() < 0.5:
            fields |= {chance.choice(["limit", "limit_objects"]): chance.randint(1, 12)}
        if chance.random() < 0.3:
            fields |= {"forced": True}
        if chance.random() < 0.3:
            fields |= {
                "cutouts": [chance.choice(["Science", "Template", "Difference"])],
                "columns": ["r:diaObjectId", "r:diaSourceId"],
            }
        elif chance.random() < 0.5:
            fields |= {"columns": ["r:diaObjectId", *chance.sample(FEW, 2)]}
        rows += check_same(pair, fields)
    assert rows > 5000
