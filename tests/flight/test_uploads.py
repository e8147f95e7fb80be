"""do_put: an upload is stored as a whole or not at all."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from alert_data import SAMPLES, TDE
from archives import Opened, ask
from waiting import PAUSE, wait_until

from flight_server.catalog.catalog import load_catalog
from flight_server.flight import FlightServer
from flight_server.ingest import Upload
from flight_server.ingest import uploads as keeping
from flight_server.protocol.errors import BackendLost, BadValue, StreamCancelled, TooLarge
from flight_server.settings import Ingest
from flight_server.storage.embedded.writer import exclusive

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


@pytest.fixture
def tde() -> pa.Table:
    return pq.ParquetFile(TDE).read()


@pytest.fixture
def receiving(open_store: Callable[..., Opened], serve: Callable[..., fl.FlightClient]) -> tuple[Opened, fl.FlightClient]:
    opened = open_store("receiving")
    return opened, serve(opened, ingest=Ingest("allow"))


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


@pytest.mark.both_stores(1)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_an_upload_leaves_what_an_ingest_of_the_same_rows_leaves(
    receiving: tuple[Opened, fl.FlightClient],
    open_store: Callable[..., Opened],
    serve: Callable[..., fl.FlightClient],
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "TOGETHER_BYTES", 500_000)
    files = sorted(SAMPLES.glob("*.parquet"))
    assert len(files) > 1
    ingested = open_store("ingested")
    opened, client = receiving
    for file in files:
        report = ingested.ingest(file)
        alerts = pq.ParquetFile(file).read()
        answer = put(client, alerts.to_batches(max_chunksize=size), alerts.schema)
        assert answer == {"alerts": len(alerts), "rows": report.rows}
    other = serve(ingested)
    assert contents(client, report.rows) == contents(other, report.rows)
    assert stamped(client) == stamped(other)
    assert opened.archive.catalog().stored == ingested.archive.catalog().stored


@pytest.mark.both_stores
def test_the_same_rows_again_change_nothing(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table) -> None:
    _, client = receiving
    first = put(client, tde.to_batches(), tde.schema)
    before = contents(client, first["rows"])
    again = put(client, tde.to_batches(max_chunksize=4), tde.schema)
    assert (again["alerts"], sum(again["rows"].values())) == (21, 0)
    assert contents(client, first["rows"]) == before


def test_texts_may_come_as_dictionaries_that_change(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table) -> None:
    _, client = receiving
    parts = []
    for half, text in ((tde.slice(0, 11), "one"), (tde.slice(11), "two")):
        words = pa.array([text] * len(half)).dictionary_encode()
        parts.append(half.set_column(tde.column_names.index("cdsxmatch"), "cdsxmatch", words).combine_chunks().to_batches()[0])
    assert put(client, parts, parts[0].schema)["alerts"] == 21
    found = ask(client, table="ztf", all=True, columns=["d:cdsxmatch"]).table["d:cdsxmatch"].to_pylist()
    assert sorted(found) == ["one"] * 11 + ["two"] * 10


def test_nothing_is_seen_before_the_end(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table) -> None:
    opened, client = receiving
    writer, reader = begin(client, tde.schema)
    writer.write_table(tde, max_chunksize=3)
    assert rows(opened) == 0
    finish(writer, reader)
    assert rows(opened) == 63


def test_an_upload_without_its_last_message_is_none(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table) -> None:
    opened, client = receiving
    writer, _ = begin(client, tde.schema)
    writer.write_table(tde)
    refused = refusal(writer.close)
    assert (refused["code"], refused["field"]) == ("invalid_ticket", "commit")
    assert rows(opened) == 0
    assert put(client, tde.to_batches(), tde.schema)["alerts"] == 21


def test_a_client_that_breaks_off_leaves_nothing(open_store: Callable[..., Opened], tde: pa.Table) -> None:
    opened = open_store()
    with FlightServer(opened.archive, replace(opened.settings, ingest=Ingest("allow"))) as server:
        url = f"grpc://127.0.0.1:{server.port}"
        done = subprocess.run([sys.executable, "-c", BREAKS_OFF, url, TDE], check=False)
        assert done.returncode == 1
        with fl.connect(url) as client:
            _check_turn_is_free(client, opened, tde)


def _check_turn_is_free(client: fl.FlightClient, opened: Opened, tde: pa.Table) -> None:

    def taken() -> bool:
        with suppress(fl.FlightUnavailableError):
            return put(client, [], tde.schema) == {"alerts": 0, "rows": {}}
        return False

    wait_until(taken, "the turn of the client that is gone ends")
    assert rows(opened) == 0
    assert put(client, tde.to_batches(), tde.schema)["alerts"] == 21


def test_one_upload_is_taken_at_a_time(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table) -> None:
    opened, client = receiving
    writer, reader = under_way(client, tde, tde)
    assert rows(opened) == 0
    assert finish(writer, reader)["alerts"] == 21
    assert sum(put(client, tde.to_batches(), tde.schema)["rows"].values()) == 0


def under_way(client: fl.FlightClient, alerts: pa.Table, sent: pa.Table) -> Any:
    """Begin an upload and wait until the server has admitted it; retry if another call had the slot."""
    while True:
        writer, reader = begin(client, alerts.schema)
        writer.write_table(sent)
        for _ in range(200):
            if _overloaded(client, alerts):
                return writer, reader
            time.sleep(PAUSE)
        with suppress(fl.FlightError):
            writer.close()


def _overloaded(client: fl.FlightClient, alerts: pa.Table) -> bool:
    try:
        put(client, [], alerts.schema)
    except fl.FlightUnavailableError as error:
        info = json.loads(error.extra_info)
        return (info["code"], info["retry"], info["retry_after_ms"]) == ("overloaded", "here", 1000)
    return False


def test_uploads_that_fell_silent_make_way(
    open_store: Callable[..., Opened],
    serve: Callable[..., fl.FlightClient],
    tde: pa.Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twenty clients stop: one during its upload, whose files are removed; the others are refused meanwhile."""
    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(kept))
    opened = open_store("receiving")
    limits = replace(opened.settings.limits, stall_seconds=0.5)
    client = serve(opened, ingest=Ingest("allow"), limits=limits)
    writer, reader = under_way(client, tde, tde.slice(0, 5))
    stopped = [begin(client, tde.schema) for _ in range(19)]
    wait_until(lambda: not list(kept.iterdir()), "what was kept is gone")
    wait_until(lambda: not _overloaded(client, tde), "the turn is free")
    assert put(client, tde.slice(5).to_batches(), tde.schema)["alerts"] == 16
    assert refusal(lambda: _end(writer, reader))["code"] == "deadline"
    assert rows(opened) == 48, "nothing of the first one"
    for other, _ in stopped:
        with suppress(fl.FlightError):
            other.close()


def _end(writer: fl.FlightStreamWriter, reader: fl.FlightMetadataReader, message: bytes = COMMIT) -> None:
    writer.write_metadata(message)
    reader.read()
    writer.close()


def test_one_wrong_value_refuses_all(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table) -> None:
    opened, client = receiving
    candidate = tde["candidate"].combine_chunks()
    place = candidate.type.get_field_index("fid")
    fields = [pc.struct_field(candidate, [number]) for number in range(candidate.type.num_fields)]
    fields[place] = pa.array(["1"] * 17 + ["red"] + ["2"] * 3)
    names = [field.name for field in candidate.type]
    alerts = tde.set_column(tde.column_names.index("candidate"), "candidate", pa.StructArray.from_arrays(fields, names))

    def send() -> None:
        writer, reader = begin(client, alerts.schema)
        with suppress(fl.FlightError):  # the server may say so before all is sent
            writer.write_table(alerts, max_chunksize=10)
        _end(writer, reader)

    refused = refusal(send)
    assert refused["message"] == "batch 1: column i:fid, row 7: 'red' does not fit into int32"
    assert (refused["code"], refused["field"]) == ("bad_value", "i:fid")
    assert rows(opened) == 0


def test_an_alert_without_a_key_refuses_all(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table) -> None:
    opened, client = receiving
    ids = pa.array(["a"] * 9 + [None] + ["a"] * 11)
    alerts = tde.set_column(tde.column_names.index("objectId"), "objectId", ids)

    def send() -> None:
        writer, reader = begin(client, alerts.schema)
        with suppress(fl.FlightError):
            writer.write_table(alerts, max_chunksize=4)
        _end(writer, reader)

    assert refusal(send)["message"] == "batch 2: column i:objectId, row 1: None is null"
    assert rows(opened) == 0


@pytest.mark.parametrize("together", [1, 600_000, 1 << 25])
def test_the_batch_at_fault_is_named_however_many_are_checked_together(
    open_store: Callable[..., Opened], tde: pa.Table, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "TOGETHER_BYTES", together)
    ids = pa.array(["a"] * 15 + [None] * 3 + ["a"] * 3)
    alerts = tde.set_column(tde.column_names.index("objectId"), "objectId", ids).combine_chunks()
    upload = Upload(open_store().store, load_catalog(), "ztf", alerts.schema)

    def send() -> None:
        for first in range(0, 21, 2):
            upload.add(alerts.slice(first, 2).to_batches()[0])
            upload.add(alerts.combine_chunks().to_batches()[0].slice(0, 0))
        upload.commit()

    with pytest.raises(BadValue) as caught:
        send()
    upload.close()
    assert caught.value.message == "batch 14: column i:objectId, row 1: None is null"


@pytest.mark.parametrize(
    ("descriptor", "code", "field"),
    [
        (fl.FlightDescriptor.for_path("ztf"), "invalid_ticket", "descriptor"),
        (fl.FlightDescriptor.for_command(b""), "invalid_ticket", "descriptor"),
        (fl.FlightDescriptor.for_command(b"ztf"), "invalid_ticket", "descriptor"),
        (fl.FlightDescriptor.for_command(b"{}"), "invalid_ticket", "survey"),
        (fl.FlightDescriptor.for_command(b'{"survey": 1}'), "invalid_ticket", "survey"),
        (fl.FlightDescriptor.for_command(b'{"survey": "ztf", "table": "ztf"}'), "unknown_field", "table"),
        (fl.FlightDescriptor.for_command(b'{"survey": "lsst"}'), "bad_value", "survey"),
    ],
    ids=str,
)
def test_another_descriptor_is_refused(
    receiving: tuple[Opened, fl.FlightClient], tde: pa.Table, descriptor: fl.FlightDescriptor, code: str, field: str
) -> None:
    _, client = receiving
    refused = refusal(lambda: _end(*begin(client, tde.schema, descriptor)))
    assert (refused["code"], refused["field"]) == (code, field)


@pytest.mark.parametrize(
    "message", [b"", b"x", b"[]", b"{}", b'{"commit": 1}', b'{"commit": false}', b'{"commit": true, "more": 1}'], ids=repr
)
def test_another_last_message_is_refused(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table, message: bytes) -> None:
    opened, client = receiving
    writer, reader = begin(client, tde.schema)
    writer.write_table(tde)
    refused = refusal(lambda: _end(writer, reader, message))
    assert (refused["code"], refused["field"]) == ("invalid_ticket", "commit")
    assert rows(opened) == 0


def test_a_batch_that_says_more_than_its_rows_is_refused(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table) -> None:
    opened, client = receiving
    writer, reader = begin(client, tde.schema)
    writer.write_with_metadata(tde.combine_chunks().to_batches()[0], COMMIT)
    assert refusal(lambda: _end(writer, reader))["field"] == "commit"
    assert rows(opened) == 0


def test_other_rows_than_alerts_are_refused(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table) -> None:
    _, client = receiving
    for schema in (pa.schema([("a", pa.int64())]), tde.drop_columns(["candidate"]).schema):
        refused = refusal(lambda schema=schema: _end(*begin(client, schema)))
        assert refused["code"] == "bad_value"
    flat = tde.set_column(tde.column_names.index("candidate"), "candidate", pa.array([1] * 21))
    refused = refusal(lambda: _end(*begin(client, flat.schema)))
    assert (refused["code"], refused["field"]) == ("bad_value", "candidate")


def test_uploads_are_refused_unless_they_are_allowed(
    sample: Opened, serve: Callable[..., fl.FlightClient], tde: pa.Table
) -> None:
    client = serve(sample)
    refused = refusal(lambda: _end(*begin(client, tde.schema)))
    assert (refused["code"], refused["field"]) == ("not_supported", "do_put")


def test_a_batch_is_no_larger_than_memory_has_room_for(
    open_store: Callable[..., Opened], tde: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_store()
    upload = opened.archive.upload("ztf", tde.schema)
    (batch,) = tde.combine_chunks().to_batches()
    monkeypatch.setattr(keeping, "MAX_BATCH_BYTES", batch.nbytes)
    upload.add(batch)
    monkeypatch.setattr(keeping, "MAX_BATCH_BYTES", batch.nbytes - 1)
    with pytest.raises(TooLarge, match="batch 1 "):
        upload.add(batch)
    upload.close()


def test_a_disk_without_room_is_said_aloud(open_store: Callable[..., Opened], tde: pa.Table) -> None:
    opened = open_store()
    upload = opened.archive.upload("ztf", tde.schema)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(BackendLost, match=r"File too large; nothing of it is stored"):
            upload.add(tde.combine_chunks().to_batches()[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        upload.close()


def test_bytes_that_are_no_columns_are_refused(open_store: Callable[..., Opened], tde: pa.Table) -> None:
    opened = open_store()
    (batch,) = tde.combine_chunks().to_batches()
    place = batch.schema.names.index("objectId")
    ids = batch.column(place)
    ends = np.frombuffer(ids.buffers()[1], np.int32)[:22].copy()
    ends[7] = 2**30  # as a client can send it
    wrong = pa.StringArray.from_buffers(21, pa.py_buffer(ends), ids.buffers()[2])
    columns = [wrong if number == place else column for number, column in enumerate(batch.columns)]
    upload = opened.archive.upload("ztf", tde.schema)
    with pytest.raises(BadValue, match="batch 0: it cannot be read"):
        upload.add(pa.RecordBatch.from_arrays(columns, schema=batch.schema))
    upload.close()


def test_an_upload_waits_for_who_writes_to_the_store(
    receiving: tuple[Opened, fl.FlightClient], tde: pa.Table, caplog: pytest.LogCaptureFixture
) -> None:
    opened, client = receiving
    with ThreadPoolExecutor(1) as pool:
        with exclusive(opened.settings.folder):  # as a process has it that ingests
            uploaded = pool.submit(put, client, tde.to_batches(), tde.schema)
            wait_until(lambda: "waiting for it to finish" in caplog.text, "the upload waits")
            wait_until(lambda: _overloaded(client, tde), "no other one is taken")
            assert rows(opened) == 0
        assert uploaded.result()["alerts"] == 21
    assert rows(opened) == 63


def test_of_a_client_that_has_gone_nothing_is_written(open_store: Callable[..., Opened], tde: pa.Table) -> None:
    opened = open_store()
    upload = Upload(opened.store, load_catalog(), "ztf", tde.schema)
    for batch in tde.to_batches():
        upload.add(batch)
    with pytest.raises(StreamCancelled, match="nothing"):
        upload.commit(lambda: True)
    upload.close()
    assert rows(opened) == 0
