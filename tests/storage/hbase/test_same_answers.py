"""Both stores return the same answer to any ticket: rows, schema with metadata, record, or error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from alert_data import NIGHT, SAMPLES, TDE
from archives import Answered, Opened, ask, digest, open_embedded, read
from broker_tables import write_tables
from changed_alerts import STAMPS, alerts_of, saved, with_candidates, with_fields
from hbase_stores import HBaseStores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flight_server.catalog.catalog import load_catalog
from flight_server.flight import FlightServer
from flight_server.ingest import count_nights, load

KINDS = ["Science", "Template", "Difference"]
TABLES = ["ztf", "ztf.cutouts", "ztf.upper", "ztf.uppervalid"]
# times whose text does not sort as they do, or begins with the text of another
TIMES = [2459092.5, 2459092.51, 2459092.4999, 2459092.512, 2459092.05, 2447892.5, 2488069.25, 2459091.99999, 2459093.0, 2459092.0]
COPIES = 12  # of a night under other names, all over the regions that a new table has
NAMES = [
    {"fullname": "SN 2023ixf", "internalname": "ZTF23aaklqou", "ra": "210.91067", "declination": "54.31165", "type": "SN II"},
    {"fullname": "SN 1987A", "internalname": None, "ra": "83.8667", "declination": "-69.2697", "type": "SN II-pec"},
]
NOTES = [{"objectId": "ZTF20abfcszi", "internal_name": "tde", "username": "me"}, {"objectId": "ZTF22odd", "comments": "é"}]
STORE_ITS_OWN = ("as_of", "cursor", "cutout_bytes_read")


def odd_times(folder: Path) -> Path:
    """Write alerts of one object at the times above, in no order, and of objects whose names begin with one another."""
    alerts = alerts_of(TDE).take(pa.array([number % 21 for number in range(len(TIMES) * 3)]))
    names = [name for name in ("ZTF22odd", "ZTF22od", "ZTF22oddd") for _ in TIMES]
    candids = pa.array(range(1, len(alerts) + 1), pa.int64())
    alerts = with_candidates(alerts, jd=pa.array(TIMES[::-1] + TIMES[5:] + TIMES[:5] + TIMES), candid=candids)
    return saved(with_fields(alerts, objectId=pa.array(names), candid=candids), folder / "odd.parquet")


def copies(folder: Path) -> Path:
    night = with_fields(alerts_of(NIGHT), **dict.fromkeys(STAMPS))
    parts = []
    for number in range(COPIES):
        names = [f"ZTF{17 + number % 8}c{number:02d}{name[-7:]}" for name in night["objectId"].to_pylist()]
        parts.append(with_fields(night, objectId=pa.array(names)))
    return saved(pa.concat_tables(parts), folder / "copies.parquet")


@dataclass
class Pair:
    """The same alerts in two stores, each behind a server."""

    clients: dict[str, fl.FlightClient]
    ids: list[str]
    sso: list[str]

    def answers(self, **fields: Any) -> tuple[Answered, Answered]:
        embedded, hbase = (ask(client, **fields) for client in self.clients.values())
        return embedded, hbase


@pytest.fixture(scope="module", params=["ingest", "broker"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, hbase_stores: HBaseStores) -> Iterator[Pair]:
    """The alerts in an embedded store, and in HBase as ingest writes them or as the broker does."""
    folder = tmp_path_factory.mktemp("pair")
    files = [SAMPLES, odd_times(folder), copies(folder)]
    names = folder / "names.json"
    names.write_text(json.dumps(NAMES))
    notes = folder / "notes.json"
    notes.write_text(json.dumps(NOTES))
    prefix = hbase_stores.prefix()
    stores: dict[str, Opened] = {"embedded": open_embedded(folder / "store")}
    if request.param == "ingest":
        stores["hbase"] = hbase_stores.open(prefix)
    for opened in stores.values():
        assert not opened.ingest(*files).failures
        load(opened.store, load_catalog(), "ztf.tns_resolver", [names])
        load(opened.store, load_catalog(), "ztf.metadata", [notes])
        count_nights(opened.store, load_catalog())
    if request.param == "broker":
        write_tables(hbase_stores.admin, hbase_stores.cluster.hdfs, prefix, stores["embedded"])
        stores["hbase"] = hbase_stores.open(prefix)
    else:
        assert stores["embedded"].reports[0].rows == stores["hbase"].reports[0].rows
    servers = {name: FlightServer(opened.archive, opened.settings) for name, opened in stores.items()}
    clients = {name: fl.connect(f"grpc://127.0.0.1:{server.port}") for name, server in servers.items()}
    rows = ask(clients["embedded"], table="ztf", all=True, columns=["i:objectId"]).table
    sso = ask(clients["embedded"], table="ztf.ssnamenr", all=True, columns=["i:ssnamenr"]).table
    yield Pair(clients, rows["i:objectId"].unique().to_pylist(), sso["i:ssnamenr"].unique().to_pylist())
    for name in stores:
        clients[name].close()
        servers[name].shutdown()
    stores["embedded"].store.close()


def assert_same(embedded: Answered, hbase: Answered) -> None:
    assert embedded.table.schema.equals(hbase.table.schema, check_metadata=True)
    records = [{name: value for name, value in one.record.items() if name not in STORE_ITS_OWN} for one in (embedded, hbase)]
    tables = [embedded.table, hbase.table]
    if "d:hdfs_path" in embedded.table.schema.names:  # each store names its own blocks
        for number, table in enumerate(tables):
            place = table.schema.get_field_index("d:hdfs_path")
            tables[number] = table.set_column(place, "d:hdfs_path", table["d:hdfs_path"].is_valid())
            records[number].pop("digest", None)
    assert records[0] == records[1]
    assert (embedded.record["cursor"] is None) == (hbase.record["cursor"] is None)
    assert digest(tables[0]) == digest(tables[1])
    notes = [[name for _, note in one.messages for name in note.get("missing_ids", [])] for one in (embedded, hbase)]
    assert notes[0] == notes[1]


def test_whole_tables_are_the_same(pair: Pair) -> None:
    for table in TABLES:
        embedded, hbase = pair.answers(table=table, all=True, digest=True)
        assert embedded.record["rows"] > 100
        assert_same(embedded, hbase)


def test_all_stamps_are_the_same(pair: Pair) -> None:
    for cutout_format in ("bytes", "fits"):
        embedded, hbase = pair.answers(
            table="ztf", all=True, columns=["i:candid"], cutouts=KINDS, cutout_format=cutout_format, digest=True
        )
        assert embedded.record["missing_cutouts"] > 0
        assert embedded.table["b:cutoutTemplate_stampData"].null_count < len(embedded.table)
        assert_same(embedded, hbase)


@pytest.mark.parametrize("upper_limits", [False, True])
def test_times_whose_text_sorts_otherwise_come_in_the_same_order(pair: Pair, upper_limits: bool) -> None:
    for ids in (["ZTF22odd"], ["ZTF22oddd", "ZTF22od", "ZTF22odd"]):
        embedded, hbase = pair.answers(
            table="ztf", ids=ids, columns=["i:objectId", "i:jd", "i:candid"], upper_limits=upper_limits
        )
        assert_same(embedded, hbase)
        rows = hbase.table.filter(pa.compute.is_in(hbase.table["i:jd"], pa.array(TIMES)))
        assert sorted(rows["i:jd"].to_pylist()) == sorted(TIMES * len(ids))
    for start, stop in ((2459092.5, 2459092.51), (2459092.4999, 2459092.5), (2459092.0, 2459093.0), (2447892.5, 2488069.5)):
        embedded, hbase = pair.answers(table="ztf", ids=["ZTF22odd"], columns=["i:jd"], start=start, stop=stop)
        assert_same(embedded, hbase)
        assert sorted(hbase.table["i:jd"].to_pylist()) == sorted(time for time in TIMES if start <= time < stop)


def test_rows_that_have_none_of_the_cells_asked_for_are_rows_of_nulls(pair: Pair) -> None:
    for fields in ({"ids": ["ZTF20abfcszi"]}, {"all": True}, {"ids": pair.ids}):
        for columns in (["d:tns"], ["d:slsn_score"], ["d:tns", "d:slsn_score"]):
            embedded, hbase = pair.answers(table="ztf", columns=columns, **fields)
            assert_same(embedded, hbase)
            assert hbase.table.schema.names == columns
            assert hbase.table[columns[-1]].null_count > 20
    assert ask(pair.clients["hbase"], table="ztf", ids=["ZTF20abfcszi"], columns=["d:tns"]).record["rows"] == 21
    embedded, hbase = pair.answers(table="ztf.uppervalid", all=True, columns=["i:distnr"])
    assert_same(embedded, hbase)


def test_ids_that_look_like_keys_or_rows_of_the_schema_select_nothing(pair: Pair) -> None:
    odd = ["schema", "schema_4.0", "schema_4.0_6.1.1", "ZTF20abfcszi_", "ZTF20abfcszi_2459063", "ZTF20abfcszi_2459063.9292593"]
    odd += [
        "ZTF20abfcsz",
        "ztf20abfcszi",
        " ZTF20abfcszi",
        "ZTF20abfcszi\0",
        "\u00e9",
        "\uffff",
        "\U0010ffff",
        "x" * 1200,
        "_",
        "~",
    ]
    for table in TABLES:
        for ids in (odd, [*odd, "ZTF20abfcszi", *odd], *([name] for name in odd)):
            embedded, hbase = pair.answers(table=table, ids=ids)
            assert_same(embedded, hbase)
            assert hbase.record["objects"] == (ids != odd and len(ids) > 1 and table not in {"ztf.uppervalid", "ztf.upper"})


def test_many_ids_come_in_the_order_asked(pair: Pair) -> None:
    ids = [*pair.ids[::-1], *(f"none{number}" for number in range(300)), *pair.ids[::3]]
    for fields in (
        {},
        {"columns": ["i:objectId", "i:jd"]},
        {"upper_limits": True},
        {"limit": 700},
        {"max_message_bytes": 40_000},
    ):
        embedded, hbase = pair.answers(table="ztf", ids=ids, digest=True, **fields)
        assert_same(embedded, hbase)


COLUMNS = ["i:jd", "i:objectId", "i:candid", "i:fid", "i:magpsf", "i:isdiffpos", "d:cdsxmatch", "d:tns", "d:nalerthist"]
COLUMNS += ["d:lc_features_g", "i:diffmaglim", "i:distnr", "d:gaiaVarFlag", "d:slsn_score", "d:hdfs_path", "i:nothing"]
DERIVED = ["v:rate", "v:g-r", "v:lapse", "v:classification", "v:separation_degree"]
OTHERS = ["ztf.pixel128", "ztf.class", "ztf.anomaly", "ztf.ssnamenr", "ztf.tns_resolver", "statistics_class", "ztf.metadata"]
CONES = st.fixed_dictionaries(
    {
        "ra": st.sampled_from([115.436, 285.0, 0.0]) | st.floats(0, 359.9),
        "dec": st.sampled_from([33.138, 43.0, 90.0]) | st.floats(-90, 90),
        "radius": st.sampled_from([3.0, 18_000.0]),
    }
)
# what a map covers costs time, most of all where nothing is
MAPS = st.sampled_from([(4, 192, 8), (128, 196_608, 800)]).flatmap(
    lambda sky: st.tuples(st.integers(0, sky[1] - sky[2] - 1), st.integers(0, sky[2])).map(
        lambda part: {"nside": sky[0], "ranges": [[part[0], part[0] + part[1]]]}
    )
) | st.just({"nside": 4, "ranges": [[50, 60]]})
PLACES = CONES.map(lambda cone: {"cone": cone}) | MAPS.map(lambda map_: {"skymap": map_})
ALL = st.just({"all": True})


def selections(table: str, pair: Pair) -> st.SearchStrategy[dict[str, Any]]:
    """Return the selections of a table, and one that it does not support."""
    known = st.sampled_from(pair.ids)
    known |= st.sampled_from(["nobody", "ZTF20abfcszi", "ZTF22odd", "ZTF22od", "ZTF20abf", "schema_4.0"])
    ids = st.lists(known, min_size=1, max_size=60).map(lambda some: {"ids": some})
    ranges = st.tuples(known | st.just(""), known | st.just("")).map(lambda keys: {"all": True, "key_range": list(keys)})
    own = {
        "ztf": ids | ids | ALL | ranges | PLACES,
        "ztf.pixel128": PLACES | ALL,
        "ztf.class": st.sampled_from(["AGN", "Unknown", "SN candidate", "QSO", "Star"]).map(lambda name: {"class": name}) | ALL,
        "ztf.anomaly": st.floats(2_458_700, 2_460_900).map(lambda time: {"start": time}) | ALL,
        "ztf.ssnamenr": st.sampled_from([*pair.sso, "8467", "none"]).map(lambda name: {"sso": name}) | ALL,
        "ztf.tns_resolver": st.sampled_from(["SN 2023ixf", "sn 2023", "SN 1987A", "x"]).map(lambda name: {"name": name}) | ALL,
        "statistics_class": st.sampled_from(["2020", "202008", "20200831", "1999"]).map(lambda night: {"night": night}) | ALL,
    }
    return own.get(table, ids | ALL | ranges)


@st.composite
def tickets(draw: st.DrawFn, pair: Pair) -> dict[str, Any]:
    table = draw(st.sampled_from([*TABLES, *OTHERS, *["ztf"] * 8]))
    ticket: dict[str, Any] = {"table": table} | draw(selections(table, pair))
    number = st.sampled_from(TIMES) | st.floats(2_458_700, 2_460_900) | st.floats(58_700, 60_900)
    stamps = table == "ztf" and draw(st.integers(0, 2)) == 0
    names = st.sampled_from(COLUMNS[:3] if table in OTHERS else [*COLUMNS, *DERIVED])
    optional = {
        "columns": st.lists(names, min_size=1, max_size=6, unique=True) | st.just(["*"]),
        "start": number | st.sampled_from(["2020-08-02", "20250101"]),
        "stop": number | st.sampled_from(["2020-08-28T12:00:00", "2021-01-01"]),
        "limit": st.integers(1, 400),
        "limit_objects": st.integers(1, 60),
        "layout": st.sampled_from(["rows", "nested"]),
        "as_of": st.sampled_from([631_152_000_000, 4_000_000_000_000]),
        "upper_limits": st.just(True),
        "compression": st.sampled_from(["none", "lz4", "zstd"]),
        "digest": st.booleans(),
        "max_message_bytes": st.sampled_from([30_000, 200_000, 1_000_000]),
    }
    if stamps:
        optional |= {"cutout_format": st.sampled_from(["bytes", "fits", "array"])}
        ticket["cutouts"] = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True))
    # a few words at once, or else few tickets are good ones
    words = draw(st.lists(st.sampled_from(sorted(optional)), max_size=5, unique=True))
    ticket = {word: draw(optional[word]) for word in words} | ticket
    if ticket.get("layout") == "nested" and table == "ztf.cutouts":
        ticket["columns"] = COLUMNS[:3]  # each store names its own blocks
    if stamps or ticket.get("layout") == "nested":  # by some padding a row may fit on the one store only
        ticket.pop("max_message_bytes", None)
    return ticket


def told(error: fl.FlightError) -> dict[str, Any]:
    """Return the information of an error, without the parts that differ between servers."""
    said = json.loads(error.extra_info)
    return {name: said[name] for name in ("code", "message", "field", "value", "retry")}


def rest_of(client: fl.FlightClient, ticket: dict[str, Any], whole: Answered, share: float) -> None:
    """Check that an answer can be resumed from one of its cursors."""
    places = [place for place, (rows, said) in enumerate(whole.messages) if rows and "cursor" in said]
    if not places:
        return
    place = places[int(share * len(places))]
    sent = sum(rows for rows, _ in whole.messages[: place + 1])
    rest = ask(client, **ticket, resume_after=whole.messages[place][1]["cursor"])
    assert digest(rest.table) == digest(whole.table.slice(sent))
    assert rest.missing == whole.missing
    assert rest.record["complete"] == whole.record["complete"]


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_ticket_is_answered_the_same(pair: Pair, data: st.DataObject) -> None:
    ticket = data.draw(tickets(pair))
    answers: list[Answered | dict[str, Any]] = []
    for client in pair.clients.values():
        try:
            answers.append(ask(client, **ticket))
        except fl.FlightError as error:
            answers.append(told(error))
    embedded, hbase = answers
    if isinstance(embedded, Answered) and isinstance(hbase, Answered):
        assert_same(embedded, hbase)
        # lists by time go on only over Julian dates of seven digits, which the odd ones are not: test_resuming_selections.py
        if ticket["table"] not in {"ztf.class", "ztf.anomaly"} and data.draw(st.booleans()):
            rest_of(pair.clients["hbase"], ticket, hbase, data.draw(st.floats(0, 1, exclude_max=True)))
    else:
        assert embedded == hbase


@settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_exchange_is_answered_the_same(pair: Pair, data: st.DataObject) -> None:
    command = {"table": "ztf", "columns": ["i:objectId", "i:jd", "v:rate"]}
    command |= data.draw(st.sampled_from([{}, {"layout": "nested"}, {"cutouts": ["Science"]}, {"upper_limits": True}]))
    if data.draw(st.booleans()):
        known = st.sampled_from([*pair.ids, "nobody"])
        sent = pa.record_batch({"id": data.draw(st.lists(known, min_size=1, max_size=40))})
    else:
        cones = data.draw(st.lists(CONES, min_size=1, max_size=4))
        sent = pa.record_batch({name: [cone[name] for cone in cones] for name in ("ra", "dec", "radius")})
    embedded, hbase = (exchange(client, sent, command) for client in pair.clients.values())
    assert_same(embedded, hbase)


def exchange(client: fl.FlightClient, sent: pa.RecordBatch, command: dict[str, Any]) -> Answered:
    """Send one batch, few enough that all of it is sent before anything is read."""
    writer, reader = client.do_exchange(fl.FlightDescriptor.for_command(json.dumps(command)))
    writer.begin(sent.schema)
    writer.write_batch(sent)
    writer.done_writing()
    answered = read(reader)
    writer.close()
    return answered


def test_schemas_and_plans_are_the_same(pair: Pair) -> None:
    embedded, hbase = pair.clients.values()
    for table in TABLES:
        path = fl.FlightDescriptor.for_path(table)
        assert embedded.get_schema(path).schema.equals(hbase.get_schema(path).schema, check_metadata=True)
    plan = fl.FlightDescriptor.for_command(json.dumps({"table": "ztf", "ids": pair.ids * 2, "upper_limits": True}))
    plans = [client.get_flight_info(plan) for client in (embedded, hbase)]
    # each plan has a name and a moment of its own
    parts = [[json.loads(e.ticket.ticket) | {"plan": "", "as_of": 0} for e in plan.endpoints] for plan in plans]
    assert parts[0] == parts[1]
    assert plans[0].schema.equals(plans[1].schema, check_metadata=True)
