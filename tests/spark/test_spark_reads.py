"""Spark reads the same rows as the client library."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as fl
import pytest
from archives import ask, digest
from cut_proxy import cutting
from spark_sessions import ReadFailed, Session

pytestmark = pytest.mark.timeout(1200)  # the first test waits for the environment

TDE = "ZTF20abfcszi"
COLUMNS = ["i:objectId", "i:candid", "i:jd", "i:fid", "i:magpsf", "d:cdsxmatch", "d:rf_snia_vs_nonia"]
STAMP = "b:cutoutScience_stampData"


def flat(table: pa.Table) -> str:
    """Return a digest of the rows, independent of order and column metadata."""
    rows = table.sort_by([("i:objectId", "ascending"), ("i:jd", "ascending")])
    return digest(pa.table(rows.columns, names=rows.column_names))


def test_a_whole_table_comes_with_its_types(spark: Session, url: str, client: fl.FlightClient) -> None:
    direct = ask(client, table="ztf", all=True).table
    read = spark.read({"url": url, "table": "ztf", "all": "true"})
    assert read.table.schema.types == direct.schema.types
    assert read.table.column_names == direct.column_names
    assert flat(read.table) == flat(direct)
    meanings = {field["name"]: field["metadata"] for field in read.schema["fields"]}
    assert meanings["i:jd"]["unit"] == "d"
    assert meanings["i:jd"]["comment"] == direct.schema.field("i:jd").metadata[b"description"].decode()


def test_counts_and_sums_are_made_by_two_executors(spark: Session, url: str, client: fl.FlightClient) -> None:
    names = ask(client, table="ztf", all=True, columns=["i:objectId"]).table["i:objectId"].unique().to_pylist()
    # unknown objects make up endpoints too
    ids = [*(f"ZTF00none{number:04}" for number in range(2500)), *names]
    sums = ["count(*) AS rows", "bit_xor(`i:candid`) AS candid", "sum(double(`i:magpsf`)) AS magpsf"]
    options = {"url": url, "table": "ztf", "columns": ",".join(COLUMNS), "ids": json.dumps(ids)}
    read = spark.read(options, select=sums, folders=True)
    direct = ask(client, table="ztf", all=True, columns=COLUMNS).table
    candid = 0
    for value in direct["i:candid"].to_pylist():
        candid ^= value
    found = read.table.to_pylist()[0]
    assert (found["rows"], found["candid"]) == (len(direct), candid)
    assert found["magpsf"] == pytest.approx(pc.sum(direct["i:magpsf"].cast(pa.float64())).as_py(), rel=1e-12)
    assert read.partitions == len(read.folders) == 3
    assert len(set(read.folders)) == 2


def test_ids_come_by_comma_and_whole_tickets_as_json(spark: Session, url: str, client: fl.FlightClient) -> None:
    names = sorted(ask(client, table="ztf", all=True, columns=["i:objectId"]).table["i:objectId"].unique().to_pylist())[:5]
    direct = ask(client, table="ztf", ids=names, columns=COLUMNS).table
    some = spark.read({"url": url, "table": "ztf", "ids": ", ".join([*names, "ZTF00nobody"]), "columns": ",".join(COLUMNS)})
    assert flat(some.table) == flat(direct)
    ticket = {"table": "ztf", "ids": names, "columns": COLUMNS}
    assert flat(spark.read({"url": url, "query": json.dumps(ticket)}).table) == flat(direct)
    bounded = {"start": "2459000.5", "stop": "2020-08-20"}
    read = spark.read({"url": url, "query": json.dumps({"all": True, "columns": COLUMNS}), "table": "ztf"} | bounded)
    direct = ask(client, table="ztf", all=True, columns=COLUMNS, start=2459000.5, stop="2020-08-20").table
    assert 0 < len(direct) < 108
    assert flat(read.table) == flat(direct)


def test_stamps_come_as_binary(spark: Session, url: str, client: fl.FlightClient) -> None:
    direct = ask(client, table="ztf", all=True, columns=["i:objectId", "i:jd"], cutouts=["Science"]).table
    read = spark.read({"url": url, "table": "ztf", "all": "true", "columns": "i:objectId,i:jd", "cutouts": "Science"})
    assert read.table.schema.field(STAMP).type == pa.binary()
    assert pc.sum(pc.binary_length(direct[STAMP])).as_py() > 0
    assert flat(read.table) == flat(direct)


def test_tables_without_rows_come_without_rows(spark: Session, url: str) -> None:
    read = spark.read({"url": url, "table": "ztf", "ids": "ZTF00nobody", "columns": "i:objectId,i:candid"})
    assert read.table.schema.types == [pa.string(), pa.int64()]
    assert len(read.table) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table": "ztff", "all": "true"}, "UnknownTable: there is no table 'ztff'; did you mean ztf"),
        ({"table": "ztf", "all": "true", "columns": "i:magspf"}, "UnknownColumn: "),
        ({"table": "ztf"}, "NoSelection: select rows with the option ids, query or all"),
        ({"table": "ztf", "all": "true", "colums": "i:jd"}, "UnknownField: there is no option 'colums'; known are url, "),
        ({"table": "ztf", "all": "yes"}, "BadValue: all must be true or false, not yes"),
        ({"table": "ztf", "query": '{"table": "ztf", "all": true}'}, "BadValue: table is set both as an option and in the query"),
        ({"query": "ztf"}, "BadValue: query is not JSON"),
        ({"query": "[]"}, "BadValue: query must be a ticket, one JSON object"),
        ({"ids": TDE}, "InvalidTicket: the ticket has no field table"),
        (
            {"table": "ztf", "all": "true", "cutouts": "Science", "cutout_format": "array"},
            f"NotSupported: {STAMP} is a tensor, for which Spark has no type",
        ),
    ],
)
def test_what_is_refused_is_said_in_words(spark: Session, url: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(ReadFailed) as refused:
        spark.read({"url": url} | options)
    assert said in str(refused.value)


def test_a_read_needs_an_address_and_a_server(spark: Session, url: str) -> None:
    with pytest.raises(ReadFailed, match="BadValue: set the option url"):
        spark.read({"table": "ztf", "all": "true"})
    with pytest.raises(ReadFailed, match=r"127\.0\.0\.1:1\b"):
        spark.read({"url": "grpc://127.0.0.1:1", "table": "ztf", "all": "true"})


def test_a_stream_that_breaks_goes_on(spark: Session, url: str, client: fl.FlightClient) -> None:
    wanted = {"table": "ztf", "columns": ["i:objectId", "i:jd"], "cutouts": ["Science"], "max_message_bytes": 100_000}
    direct = ask(client, all=True, **wanted).table
    port = int(url.rpartition(":")[2])
    with cutting(port, *[direct.nbytes // 3] * 20) as proxy:
        read = spark.read({"url": proxy.url, "query": json.dumps(wanted | {"all": True})})
        assert proxy.cuts >= 1
    assert flat(read.table) == flat(direct)
