"""Uploads as clients send them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from archives import Opened, ask
from waiting import PAUSE

ZTF = fl.FlightDescriptor.for_command(b'{"survey": "ztf"}')
COMMIT = b'{"commit": true}'
KINDS = ["Science", "Template", "Difference"]
# A client of its own, which is killed in the middle of an upload.
BREAKS_OFF = """
import os, sys
import pyarrow.flight as fl, pyarrow.parquet as pq
alerts = pq.ParquetFile(sys.argv[2]).read()
client = fl.connect(sys.argv[1])
writer, _ = client.do_put(fl.FlightDescriptor.for_command(b'{"survey": "ztf"}'), alerts.schema)
for _ in range(20):
    writer.write_table(alerts, max_chunksize=7)
os._exit(1)
"""


def begin(client: fl.FlightClient, schema: pa.Schema, descriptor: fl.FlightDescriptor = ZTF) -> Any:
    return client.do_put(descriptor, schema)


def finish(writer: fl.FlightStreamWriter, reader: fl.FlightMetadataReader, message: bytes = COMMIT) -> dict[str, Any]:
    """Send the commit message and return the reply."""
    writer.write_metadata(message)
    answer = reader.read()
    writer.close()
    assert answer is not None
    return json.loads(answer.to_pybytes())


def put(client: fl.FlightClient, alerts: Iterable[pa.RecordBatch], schema: pa.Schema) -> dict[str, Any]:
    writer, reader = begin(client, schema)
    for batch in alerts:
        writer.write_batch(batch)
    return finish(writer, reader)


def refusal(attempt: Callable[[], object]) -> dict[str, Any]:
    with pytest.raises(fl.FlightError) as caught:
        attempt()
    return json.loads(caught.value.extra_info)


def rows(opened: Opened) -> int:
    """Count the alerts of a store, also by an index, without its server."""
    opened.store.refresh()
    view, catalog = opened.store.view(), opened.archive.catalog()
    return sum(view.count(catalog.table(name), None) or 0 for name in ("ztf", "ztf.class", "ztf.cutouts"))


def stamped(client: fl.FlightClient) -> str:
    return str(ask(client, table="ztf", all=True, cutouts=KINDS, digest=True).record["digest"])


def contents(client: fl.FlightClient, tables: Iterable[str]) -> dict[str, str]:
    """Return the digest of each table, without the paths of cutouts, which depend on the time."""
    places = {"ztf.cutouts": ["i:objectId", "i:jd", "i:candid"]}
    wanted = {name: {"columns": places[name]} if name in places else {} for name in tables}
    return {name: ask(client, table=name, all=True, digest=True, **more).record["digest"] for name, more in wanted.items()}


def under_way(client: fl.FlightClient, alerts: pa.Table, sent: pa.Table) -> Any:
    """Begin an upload and wait until the server has admitted it; retry if another call had the slot."""
    while True:
        writer, reader = begin(client, alerts.schema)
        writer.write_table(sent)
        for _ in range(200):
            if overloaded(client, alerts):
                return writer, reader
            time.sleep(PAUSE)
        with suppress(fl.FlightError):
            writer.close()


def overloaded(client: fl.FlightClient, alerts: pa.Table) -> bool:
    try:
        put(client, [], alerts.schema)
    except fl.FlightUnavailableError as error:
        info = json.loads(error.extra_info)
        return (info["code"], info["retry"], info["retry_after_ms"]) == ("overloaded", "here", 1000)
    return False


def end(writer: fl.FlightStreamWriter, reader: fl.FlightMetadataReader, message: bytes = COMMIT) -> None:
    writer.write_metadata(message)
    reader.read()
    writer.close()
