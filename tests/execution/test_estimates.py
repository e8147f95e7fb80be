"""The action estimate, compared with the real answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from alert_data import TDE
from archives import Opened, ask
from slow_stores import pausing

from flight_server.execution import estimates
from flight_server.storage.scans import Scan

CURVE = ["i:objectId", "i:jd", "i:magpsf"]
IDS = [f"ZTF{number:03d}" for number in range(60)]


def estimate(client: fl.FlightClient, **fields: Any) -> dict[str, Any]:
    (result,) = client.do_action(fl.Action("estimate", json.dumps(fields).encode()))
    return json.loads(result.body.to_pybytes())


@pytest.fixture(scope="module")
def many(make_store: Callable[[], Opened], tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """60 objects of 21 rows."""
    folder = tmp_path_factory.mktemp("many")
    table = pq.ParquetFile(TDE).read()
    place = table.column_names.index("objectId")
    copies = [table.set_column(place, "objectId", pa.array([name] * 21)) for name in IDS]
    pq.write_table(pa.concat_tables(copies), folder / "many.parquet")
    opened = make_store()
    opened.ingest(folder / "many.parquet")
    return opened


@pytest.mark.both_stores(1, 5)
@pytest.mark.parametrize(
    "fields",
    [
        {"ids": ["ZTF20abfcszi"]},
        {"ids": ["nobody", "ZTF20abfcszi"], "columns": CURVE},
        {"ids": ["nobody"]},
        {"ids": ["ZTF20abfcszi"], "columns": CURVE, "limit": 5},
        {"ids": ["ZTF20abfcszi"], "columns": CURVE, "start": 2459090.5},
        {"ids": ["ZTF20abfcszi"], "columns": CURVE, "upper_limits": True},
    ],
    ids=str,
)
def test_of_a_small_answer_all_is_known(client: fl.FlightClient, fields: dict[str, Any]) -> None:
    answered = ask(client, table="ztf", **fields)
    found = estimate(client, table="ztf", **fields)
    # how a batch is cut decides about the bytes in which its nulls begin
    assert found.pop("bytes") == pytest.approx(answered.table.nbytes, rel=0.01)
    assert found == {
        "rows": len(answered.table),
        "objects": answered.record["objects"],
        "endpoints": 1,
        "columns": answered.table.num_columns,
        "exact": True,
    }


def test_a_small_table_is_known_too(client: fl.FlightClient) -> None:
    answered = ask(client, table="ztf", all=True)
    found = estimate(client, table="ztf", all=True)
    assert (found["rows"], found["exact"]) == (108, True)
    assert found["bytes"] == pytest.approx(answered.table.nbytes, rel=0.01)
    assert found["objects"] == answered.record["objects"]
    one = estimate(client, table="ztf.upper", all=True, limit=1)
    assert (one["rows"], one["exact"]) == (1, True)


@pytest.mark.both_stores(1)
@pytest.mark.parametrize("cutouts", [[], ["Science"]])
def test_of_many_objects_a_few_tell(
    many: Opened, serve: Callable[..., fl.FlightClient], store_kind: str, cutouts: list[str]
) -> None:
    client = serve(many)
    wanted = {"table": "ztf", "columns": CURVE, "cutouts": cutouts, "ids": [*IDS, "nobody"]}
    answered = ask(client, **wanted)
    found = estimate(client, **wanted)
    assert found["rows"] == (1260 if store_kind == "embedded" else None)
    assert (found["objects"], found["endpoints"], found["columns"], found["exact"]) == (61, 1, 3 + len(cutouts), False)
    assert found["bytes"] == pytest.approx(answered.table.nbytes, rel=0.1)
    half = estimate(client, **wanted, limit=630)
    assert half["bytes"] == pytest.approx(answered.table.nbytes / 2, rel=0.1)
    third = estimate(client, **wanted, limit_objects=20)
    assert (third["rows"], third["objects"]) == (None, 20)
    assert third["bytes"] == pytest.approx(answered.table.nbytes / 3, rel=0.1)


def test_of_light_curves_a_few_tell_too(many: Opened, serve: Callable[..., fl.FlightClient]) -> None:
    client = serve(many)
    wanted = {"table": "ztf", "columns": CURVE, "layout": "nested"}
    answered = ask(client, **wanted, ids=IDS)
    found = estimate(client, **wanted, ids=IDS)
    assert (found["objects"], found["columns"], found["exact"]) == (60, 2, False)
    assert found["bytes"] == pytest.approx(answered.table.nbytes, rel=0.1)
    few = estimate(client, **wanted, ids=[*IDS[:3], "nobody"])
    assert (few["rows"], few["objects"], few["exact"]) == (3, 3, True)


@pytest.mark.both_stores
def test_a_few_rows_tell_of_a_table(many: Opened, serve: Callable[..., fl.FlightClient], store_kind: str) -> None:
    client = serve(many)
    answered = ask(client, table="ztf", all=True, columns=CURVE)
    found = estimate(client, table="ztf", all=True, columns=CURVE)
    assert (found["objects"], found["columns"], found["exact"]) == (None, 3, False)
    if store_kind == "embedded":
        assert found["rows"] == 1260
        assert found["bytes"] == pytest.approx(answered.table.nbytes, rel=0.05)
    else:
        assert (found["rows"], found["bytes"]) == (None, None), "HBase does not know"


@pytest.mark.both_stores(0)
@pytest.mark.parametrize("cutouts", [[], ["Science"]])
def test_no_more_than_a_few_rows_are_read(
    many: Opened, serve: Callable[..., fl.FlightClient], cutouts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def note(scan: Scan) -> None:
        read.append(scan)

    monkeypatch.setattr(estimates, "SAMPLE_ROWS", 100)
    client = serve(pausing(many, note))
    for fields in ({"ids": IDS}, {"all": True}):
        read.clear()
        assert not estimate(client, table="ztf", columns=CURVE, cutouts=cutouts, **fields)["exact"]
        assert len(read) <= 6, "a pause for fifty rows each, and some before them"


@pytest.mark.both_stores
@pytest.mark.parametrize(
    "fields",
    [
        {"table": "ztf", "cone": {"ra": 10, "dec": 10, "radius": 10}},
        {"table": "ztf.class", "class": "Early SN Ia candidate"},
        {"table": "ztf", "all": True, "start": 2459000},
    ],
    ids=str,
)
def test_what_is_not_cheap_is_not_told(sample: Opened, serve: Callable[..., fl.FlightClient], fields: dict[str, Any]) -> None:
    def never(scan: Scan) -> None:
        raise AssertionError("nothing is to be read")

    found = estimate(serve(pausing(sample, never)), **fields)
    assert (found["rows"], found["objects"], found["bytes"], found["exact"]) == (None, None, None, False)
    assert found["columns"] > 3


@pytest.mark.both_stores
def test_endpoints_are_those_of_the_plan(client: fl.FlightClient) -> None:
    fields = {"table": "ztf", "ids": [f"none{number}" for number in range(2500)], "columns": CURVE}
    planned = client.get_flight_info(fl.FlightDescriptor.for_command(json.dumps(fields)))
    assert estimate(client, **fields)["endpoints"] == len(planned.endpoints) == 3
    whole = {"table": "ztf", "all": True}
    planned = client.get_flight_info(fl.FlightDescriptor.for_command(json.dumps(whole)))
    assert estimate(client, **whole)["endpoints"] == len(planned.endpoints)


def test_a_wrong_ticket_is_refused_as_do_get_does(client: fl.FlightClient) -> None:
    for fields, code in (
        ({"table": "ztf"}, "no_selection"),
        ({"table": "x", "all": True}, "unknown_table"),
        ({"sig": 1}, "invalid_ticket"),
    ):
        with pytest.raises(fl.FlightServerError) as caught:
            estimate(client, **fields)
        assert json.loads(caught.value.extra_info)["code"] == code
