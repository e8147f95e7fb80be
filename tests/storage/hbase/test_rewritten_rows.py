"""Rows that are put again as a whole between a plan and its read, as the broker does: a plan finds every row."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.flight as fl
from alert_data import SAMPLES
from archives import digest
from hbase_ingested import Ingested

from flight_server.flight import FlightServer


def test_every_row_is_found_though_all_were_put_again(empty: Ingested) -> None:
    empty.ingest(SAMPLES)
    opened = empty.open()
    admin = empty.stores.admin
    with FlightServer(opened.archive, opened.settings) as server, fl.connect(f"grpc://127.0.0.1:{server.port}") as client:

        def read(ticket: bytes) -> pa.Table:
            return client.do_get(fl.Ticket(ticket)).read_all()

        names = read(b'{"table": "ztf", "all": true, "columns": ["i:objectId"]}')["i:objectId"].unique().to_pylist()
        for fields in ({"ids": names}, {"all": True}):
            command = json.dumps({"table": "ztf", "columns": ["i:objectId", "i:jd"], **fields}).encode()
            before = read(command)
            info = client.get_flight_info(fl.FlightDescriptor.for_command(command))
            assert all("as_of" not in json.loads(endpoint.ticket.ticket) for endpoint in info.endpoints)
            rows = {key: {name: cell.value for name, cell in cells.items()} for key, cells in empty.cells("ztf").items()}
            admin.put_rows(f"{empty.prefix}ztf", rows)
            found = pa.concat_tables([read(endpoint.ticket.ticket) for endpoint in info.endpoints])
            assert digest(found) == digest(before)
        given = json.dumps({"table": "ztf", "all": True, "as_of": 4_000_000_000_000}).encode()
        (endpoint, *_) = client.get_flight_info(fl.FlightDescriptor.for_command(given)).endpoints
        assert json.loads(endpoint.ticket.ticket)["as_of"] == 4_000_000_000_000, "the caller's own stays"
