"""Tables that are not served: looked at again when they are asked for, and without columns until they are."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.flight as fl
import pytest
from alert_data import SAMPLES, TDE
from archives import ask
from clusters import SHARED
from hbase_ingested import Ingested
from hbase_stores import HBaseStores
from waiting import wait_until

from flight_server.flight import FlightServer


def act(client: fl.FlightClient, action: str, body: bytes = b"") -> Any:
    (result,) = client.do_action(fl.Action(action, body))
    return json.loads(result.body.to_pybytes())


def test_a_table_that_is_disabled_and_enabled_is_served_again(hbase_stores: HBaseStores) -> None:
    tables = Ingested(hbase_stores, hbase_stores.prefix())
    tables.ingest(TDE)
    name = f"{tables.prefix}ztf"
    admin = hbase_stores.admin
    admin.disable(name)
    opened = tables.open()
    with FlightServer(opened.archive, opened.settings) as server, fl.connect(f"grpc://127.0.0.1:{server.port}") as client:
        with pytest.raises(fl.FlightUnavailableError, match=f"the table {name} is disabled in HBase"):
            ask(client, table="ztf", ids=["ZTF20abfcszi"])
        listed = act(client, "tables")
        assert listed["ztf"]["columns"] == 0
        assert listed["ztf.upper"]["columns"] == 4
        assert next(info.descriptor.path[0] for info in client.list_flights()) == b"ztf.cutouts"
        with pytest.raises(fl.FlightUnavailableError, match="disabled"):
            act(client, "schema", b"ztf")
        with pytest.raises(fl.FlightUnavailableError, match="disabled"):
            client.get_flight_info(fl.FlightDescriptor.for_path("ztf"))
        admin.enable(name)

        def is_answered() -> bool:
            try:
                return bool(ask(client, table="ztf", ids=["ZTF20abfcszi"]).record["rows"] == 21)
            except fl.FlightUnavailableError:
                return False

        wait_until(is_answered, "nobody has to ask for it but by a ticket")
        assert act(client, "health")["tables"]["ztf"] == "ok"
        assert act(client, "tables")["ztf"]["columns"] > 100
        assert client.get_flight_info(fl.FlightDescriptor.for_path("ztf")).schema.names[0] == "i:objectId"


def test_names_with_a_namespace_and_of_their_own(hbase_stores: HBaseStores) -> None:
    tables = Ingested(hbase_stores, hbase_stores.prefix())
    given = {
        SHARED: f"{tables.prefix}{SHARED}",
        "ztf": f"default:{tables.prefix}portal",
        "ztf.upper": f"{tables.prefix}portal.upper",
    }
    opened = hbase_stores.open(tables.prefix, hbase={"prefix": tables.prefix, "tables": given})
    assert not opened.ingest(SAMPLES).failures
    found = set(hbase_stores.admin.tables())
    assert {f"{tables.prefix}portal", f"{tables.prefix}portal.upper", f"{tables.prefix}ztf.class"} <= found
    assert f"{tables.prefix}ztf" not in found
    with FlightServer(opened.archive, opened.settings) as server, fl.connect(f"grpc://127.0.0.1:{server.port}") as client:
        assert ask(client, table="ztf", ids=["ZTF20abfcszi"]).record["rows"] == 21
        assert ask(client, table="ztf.upper", all=True).record["rows"] == 551
        assert act(client, "health")["tables"]["ztf"] == "ok"
