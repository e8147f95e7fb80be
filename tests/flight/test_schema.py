"""The action `schema` agrees with the schemas of answers."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.flight as fl
import pytest
from archives import ask

from flight_server.derive import load_derived
from flight_server.protocol.query import CUTOUT_KINDS

CONE = {"ra": 240.0, "dec": 30.0, "radius": 60}


def act(client: fl.FlightClient, name: str, body: bytes = b"") -> Any:
    (result,) = client.do_action(fl.Action(name, body))
    return json.loads(result.body.to_pybytes())


def refused(client: fl.FlightClient, body: bytes) -> dict[str, Any]:
    with pytest.raises(fl.FlightError) as caught:
        act(client, "schema", body)
    return dict(json.loads(caught.value.extra_info))


@pytest.mark.both_stores
def test_the_columns_are_those_of_an_answer_with_everything(client: fl.FlightClient) -> None:
    columns = act(client, "schema", b"ztf")
    stamps = [column["name"] for column in columns if column.get("with") == ["cutouts"]]
    named = [column["name"] for column in columns if column["name"] not in stamps]
    assert len(stamps) == 3
    answered = ask(client, table="ztf", cone=CONE, columns=named, cutouts=list(CUTOUT_KINDS), upper_limits=True).table.schema
    assert set(answered.names) == {column["name"] for column in columns}
    for column in columns:
        field = answered.field(column["name"])
        assert column["type"] == str(field.type)
        said = {name.decode(): value.decode() for name, value in field.metadata.items()}
        assert {"unit", "ucd", "description", "origin"} <= set(said)
        assert {name: column.get(name) for name in said} == said


@pytest.mark.both_stores
def test_what_an_answer_without_columns_has_stands_first(client: fl.FlightClient) -> None:
    for table in ("ztf", "ztf.upper", "ztf.class", "ztf.pixel128"):
        names = [column["name"] for column in act(client, "schema", table.encode())]
        always = client.get_schema(fl.FlightDescriptor.for_path(table)).schema.names
        assert names[: len(always)] == always
        assert len(set(names)) == len(names)


def test_json_names_a_table_too(client: fl.FlightClient) -> None:
    plain = act(client, "schema", b"ztf.upper")
    assert [column["name"] for column in plain] == ["i:objectId", "i:jd", "i:fid", "i:diffmaglim", "v:lastdate"]
    assert act(client, "schema", b'{"table": "ztf.upper"}') == act(client, "schema", b" ztf.upper\n") == plain


def test_derived_columns_say_what_they_are_made_of(client: fl.FlightClient) -> None:
    columns = {column["name"]: column for column in act(client, "schema", b"ztf")}
    assert columns["v:lapse"]["made_of"] == ["i:jd", "i:jdstarthist"]
    assert columns["v:lapse"]["over"] == "row"
    assert columns["v:rate"]["made_of"] == ["i:objectId", "i:jd", "i:fid", "i:magpsf", "i:sigmapsf"]
    assert columns["v:rate"]["over"] == "object"
    assert columns["v:separation_degree"]["with"] == ["cone"]
    assert columns["d:tag"]["with"] == ["upper_limits"]
    for name, column in columns.items():
        assert ("made_of" in column) == ("over" in column) == name.startswith("v:")
        assert column["origin"] == "derived" or not name.startswith("v:")
        assert "with" not in column or name in {"v:separation_degree", "d:tag"} or name.startswith("b:cutout")


@pytest.mark.parametrize("table", ["ztf", "ztf.upper", "ztf.uppervalid", "ztf.class", "ztf.pixel128"])
def test_a_table_lists_the_derived_columns_that_it_gives_and_no_other(client: fl.FlightClient, table: str) -> None:
    listed = {column["name"] for column in act(client, "schema", table.encode())}
    ways = act(client, "tables")[table]["selections"]
    chosen = {"cone": CONE} if "cone" in ways else {"all": True}
    for name in load_derived("ztf"):
        if name in listed:
            assert ask(client, table=table, columns=[name], **chosen).table.schema.names == [name]
        else:
            with pytest.raises(fl.FlightError) as caught:
                ask(client, table=table, columns=[name], **chosen)
            assert json.loads(caught.value.extra_info)["code"] in {"unknown_column", "not_supported"}


def test_an_unknown_table_is_named_beside_the_nearest_ones(client: fl.FlightClient) -> None:
    for body in (b"ztf.uper", b'{"table": "ztf.uper"}'):
        said = refused(client, body)
        assert (said["code"], said["field"], said["value"]) == ("unknown_table", "table", "ztf.uper")
        assert "did you mean ztf.upper" in said["message"]


BODIES = [
    b"",
    b"  ",
    b"\xff\xfe",
    b"{",
    b"{}",
    b'{"table": 5}',
    b'{"table": ""}',
    b'{"table": "ztf", "columns": []}',
    b"{" * 9999,
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:30]))
def test_a_body_that_names_no_table_is_refused(client: fl.FlightClient, body: bytes) -> None:
    said = refused(client, body)
    assert (said["code"], said["field"]) == ("bad_value", "body")
    assert 'such as ztf or {"table": "ztf"}' in said["message"]


def test_tables_say_what_they_can_be_asked_by(client: fl.FlightClient) -> None:
    ways = {name: table["selections"] for name, table in act(client, "tables").items()}
    assert ways["ztf"] == ["ids", "cone", "skymap", "all"]
    assert ways["ztf.pixel128"] == ["cone", "skymap", "all"]
    assert ways["ztf.class"] == ["class", "all"]
    assert ways["ztf.anomaly"] == ["start", "stop", "all"]
    assert ways["statistics_class"] == ["ids", "night", "all"]
