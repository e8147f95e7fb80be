"""do_put: uploads that cannot be stored are refused, by name."""

from __future__ import annotations

import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as fl
import pytest
from archives import Opened
from uploading import (
    COMMIT,
    begin,
    end,
    overloaded,
    put,
    refusal,
    rows,
)
from waiting import wait_until

from flight_server.catalog.catalog import load_catalog
from flight_server.ingest import Upload
from flight_server.ingest import uploads as keeping
from flight_server.protocol.errors import BackendLost, BadValue, StreamCancelled, TooLarge
from flight_server.storage.embedded.writer import exclusive


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
        end(writer, reader)

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
        end(writer, reader)

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
    refused = refusal(lambda: end(*begin(client, tde.schema, descriptor)))
    assert (refused["code"], refused["field"]) == (code, field)


@pytest.mark.parametrize(
    "message", [b"", b"x", b"[]", b"{}", b'{"commit": 1}', b'{"commit": false}', b'{"commit": true, "more": 1}'], ids=repr
)
def test_another_last_message_is_refused(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table, message: bytes) -> None:
    opened, client = receiving
    writer, reader = begin(client, tde.schema)
    writer.write_table(tde)
    refused = refusal(lambda: end(writer, reader, message))
    assert (refused["code"], refused["field"]) == ("invalid_ticket", "commit")
    assert rows(opened) == 0


def test_a_batch_that_says_more_than_its_rows_is_refused(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table) -> None:
    opened, client = receiving
    writer, reader = begin(client, tde.schema)
    writer.write_with_metadata(tde.combine_chunks().to_batches()[0], COMMIT)
    assert refusal(lambda: end(writer, reader))["field"] == "commit"
    assert rows(opened) == 0


def test_other_rows_than_alerts_are_refused(receiving: tuple[Opened, fl.FlightClient], tde: pa.Table) -> None:
    _, client = receiving
    for schema in (pa.schema([("a", pa.int64())]), tde.drop_columns(["candidate"]).schema):
        refused = refusal(lambda schema=schema: end(*begin(client, schema)))
        assert refused["code"] == "bad_value"
    flat = tde.set_column(tde.column_names.index("candidate"), "candidate", pa.array([1] * 21))
    refused = refusal(lambda: end(*begin(client, flat.schema)))
    assert (refused["code"], refused["field"]) == ("bad_value", "candidate")


def test_uploads_are_refused_unless_they_are_allowed(
    sample: Opened, serve: Callable[..., fl.FlightClient], tde: pa.Table
) -> None:
    client = serve(sample)
    refused = refusal(lambda: end(*begin(client, tde.schema)))
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
            wait_until(lambda: overloaded(client, tde), "no other one is taken")
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
