"""Plans: the tickets of endpoints are independent, and together return each row once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import Opened, ask, digest, messages, read

from flight_server.planning.endpoints import endpoint_queries
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query
from flight_server.protocol.ticket_json import parse_ticket
from flight_server.storage.embedded import snapshot

COLUMNS = ["i:objectId", "i:jd", "i:magpsf"]


def info(client: fl.FlightClient, **fields: Any) -> fl.FlightInfo:
    return client.get_flight_info(fl.FlightDescriptor.for_command(json.dumps(fields).encode()))


def tickets(found: fl.FlightInfo) -> list[dict[str, Any]]:
    return [json.loads(endpoint.ticket.ticket) for endpoint in found.endpoints]


def code(error: fl.FlightError) -> str:
    return str(json.loads(error.extra_info)["code"])


@pytest.mark.both_stores
def test_ids_are_split_by_the_thousand_and_each_ticket_stands_alone(sample: Opened, client: fl.FlightClient) -> None:
    own = list(dict.fromkeys(ask(client, table="ztf", all=True, columns=["i:objectId"]).table[0].to_pylist()))
    ids = own[:20] + [f"none{number}" for number in range(2480)]
    random.Random(3).shuffle(ids)
    found = info(client, table="ztf", ids=ids, columns=COLUMNS)
    assert found.ordered
    assert [len(ticket["ids"]) for ticket in tickets(found)] == [1000, 1000, 500]
    assert len({ticket["plan"] for ticket in tickets(found)}) == 1
    keeps_versions = sample.store.view().keeps_versions
    assert all(("as_of" in ticket) == keeps_versions for ticket in tickets(found))
    parts = [read(client.do_get(endpoint.ticket)) for endpoint in reversed(found.endpoints)]
    whole = ask(client, table="ztf", ids=ids, columns=COLUMNS)
    assert pa.concat_tables([part.table for part in reversed(parts)]).equals(whole.table)
    assert sum(part.record["missing"] for part in parts) == whole.record["missing"] == 2480
    assert found.schema.equals(whole.table.schema, check_metadata=True)


def test_too_many_ids_for_one_plan_are_refused(client: fl.FlightClient) -> None:
    with pytest.raises(fl.FlightServerError, match="at most 20,000 IDs, not 20,001") as caught:
        info(client, table="ztf", ids=[f"none{number}" for number in range(20_001)])
    assert code(caught.value) == "too_large"
    assert "or use do_exchange" in str(caught.value)
    limited = {
        "table": "ztf",
        "ids": ["ZTF20abfcszi", *(f"none{number}" for number in range(20_000))],
        "columns": COLUMNS,
        "limit": 5,
    }
    with pytest.raises(fl.FlightServerError, match="or send the ticket to do_get"):
        info(client, **limited)
    assert len(ask(client, **limited).table) == 5


def test_what_a_plan_says_travels_in_less_than_the_least_limit_of_clients(client: fl.FlightClient) -> None:
    ids = [f"{'x' * 28}{number:010}" for number in range(20_000)]
    found = info(client, table="ztf", ids=ids)
    assert len(found.serialize()) < 3.5 * 2**20
    assert [name for ticket in tickets(found) for name in ticket["ids"]] == ids


@pytest.mark.both_stores
def test_a_table_that_is_overwritten_is_not_bound_to_a_moment(client: fl.FlightClient) -> None:
    cone = {"ra": 285.0, "dec": 43.0, "radius": 100.0}
    assert "as_of" not in tickets(info(client, table="ztf.pixel128", cone=cone))[0]
    assert tickets(info(client, table="ztf", ids=["a"], as_of=4_000_000_000_000))[0]["as_of"] == 4_000_000_000_000


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splits of the embedded store into parts of about a thousand rows, as in a large store."""
    monkeypatch.setattr(snapshot, "PART_BYTES", 1)


WHOLE: list[dict[str, Any]] = [
    {"table": "ztf", "all": True},
    {"table": "ztf", "all": True, "columns": ["i:jd"], "layout": "nested"},
    {"table": "ztf", "all": True, "columns": COLUMNS, "upper_limits": True},
    {"table": "ztf", "all": True, "columns": [*COLUMNS, "v:rate"]},
    {"table": "ztf", "all": True, "columns": COLUMNS, "start": 2459000.5},
    {"table": "ztf.pixel128", "all": True},
    {"table": "ztf.class", "class": "AGN", "columns": COLUMNS},
    {"table": "ztf.anomaly", "start": 2459000.5, "columns": COLUMNS},
    {"table": "ztf.anomaly", "all": True, "columns": COLUMNS},
]


@pytest.mark.both_stores
@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("fields", WHOLE, ids=str)
def test_parts_of_a_table_make_the_whole(
    large_sample: Opened, serve: Callable[..., fl.FlightClient], store_kind: str, fields: dict[str, Any]
) -> None:
    client = serve(large_sample)
    found = info(client, **fields)
    whole = ask(client, **fields)
    if fields["table"] == "ztf" or (store_kind == "embedded" and "all" in fields):  # a class may lie in one region
        assert len(found.endpoints) > 1
    answers = [read(client.do_get(endpoint.ticket)) for endpoint in found.endpoints]
    parts = pa.concat_tables([answer.table for answer in answers])
    assert sum(answer.record["rows"] for answer in answers) == whole.record["rows"] > 0
    if found.ordered:
        assert digest(parts) == digest(whole.table)
    else:
        assert sorted(map(str, parts.to_pylist())) == sorted(map(str, whole.table.to_pylist()))
    if fields["table"] == "ztf":
        assert sum(answer.record["objects"] for answer in answers) == whole.record["objects"]
    for endpoint in found.endpoints if len(found.endpoints) > 1 else ():  # a part may be planned anew
        again = info(client, **json.loads(endpoint.ticket.ticket))
        assert [ticket.get("key_range") for ticket in tickets(again)] == [json.loads(endpoint.ticket.ticket)["key_range"]]


@pytest.mark.both_stores
@pytest.mark.usefixtures("small_parts")
def test_parts_can_be_put_together_again(large_sample: Opened) -> None:
    query = Query(table="ztf", all=True, columns=("i:objectId", "i:jd"))
    plan = large_sample.archive.plan(query, Caller())
    every, _ = large_sample.archive.endpoints(plan)
    for most in (1, 2, len(every) - 1, len(every), 1000):
        parts, ordered = large_sample.archive.endpoints(plan, most)
        assert ordered
        assert len(parts) <= most
        tables = [messages(large_sample, part).table for part in parts]
        assert digest(pa.concat_tables(tables)) == digest(messages(large_sample, query).table)


def test_one_with_a_limit_or_a_cursor_stays_whole() -> None:
    query = Query(table="ztf", all=True)
    parts = [(b"", b"b"), (b"b", b"")]
    assert len(list(endpoint_queries(query, parts))) == 2
    for change in ({"limit": 5}, {"limit_objects": 5}, {"resume_after": "x"}):
        assert list(endpoint_queries(replace(query, **change), parts)) == [replace(query, **change)]


@pytest.mark.both_stores
def test_a_range_of_keys_never_cuts_an_object(large_sample: Opened) -> None:
    rows = messages(large_sample, Query(table="ztf", all=True, columns=("i:objectId", "i:jd"))).table
    names = rows["i:objectId"].to_pylist()
    name = next(name for name in names if names.count(name) > 3)
    middle = f"{name}_{rows['i:jd'][names.index(name) + 1].as_py()}"
    before = messages(large_sample, Query(table="ztf", all=True, columns=("i:objectId",), key_range=("", middle))).table
    behind = messages(large_sample, Query(table="ztf", all=True, columns=("i:objectId",), key_range=(middle, ""))).table
    assert name not in before[0].to_pylist()
    assert behind[0].to_pylist().count(name) == names.count(name)
    assert len(before) + len(behind) == len(rows)
    assert parse_ticket(Query(table="ztf", all=True, key_range=("", middle)).to_json()).key_range == ("", middle)
