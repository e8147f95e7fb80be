"""do_put: alerts are uploaded, all of an upload or none of it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from alert_data import SAMPLES, TDE
from archives import Opened, ask
from uploading import (
    BREAKS_OFF,
    begin,
    contents,
    end,
    finish,
    overloaded,
    put,
    refusal,
    rows,
    stamped,
    under_way,
)
from waiting import wait_until

from flight_server.flight import FlightServer
from flight_server.ingest import uploads as keeping
from flight_server.settings import Ingest


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
        assert answer == {"alerts": len(alerts), "rows": report.rows, "sharing": [], "rounded": {}, "unplaced": []}
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
            return put(client, [], tde.schema)["alerts"] == 0
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
    wait_until(lambda: not overloaded(client, tde), "the turn is free")
    assert put(client, tde.slice(5).to_batches(), tde.schema)["alerts"] == 16
    assert refusal(lambda: end(writer, reader))["code"] == "deadline"
    assert rows(opened) == 48, "nothing of the first one"
    for other, _ in stopped:
        with suppress(fl.FlightError):
            other.close()
