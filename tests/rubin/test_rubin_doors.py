"""Alerts of Rubin through the client, an upload, the shell's files, and the tables that are loaded."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from alert_data import RUBIN, TDE
from archives import Opened, digest, open_embedded
from astropy.io.votable import parse_single_table
from click.testing import CliRunner
from rubin_archives import MAIN, asking, whole

import flight_client as af
from flight_server.catalog.catalog import load_catalog
from flight_server.cli.app import main
from flight_server.flight import FlightServer
from flight_server.ingest import load
from flight_server.ingest.uploads import Upload

BIG = 170028528328769656
COLUMNS = ["r:diaObjectId", "r:diaSourceId", "r:midpointMjdTai"]


@pytest.fixture(scope="module")
def url(opened: Opened) -> Iterator[str]:
    with FlightServer(opened.archive, opened.settings) as server:
        yield f"grpc://127.0.0.1:{server.port}"


def test_ids_of_frames_arrays_and_texts_find_the_object(url: str) -> None:
    archive = af.connect(url)
    for ids in (BIG, [BIG], pa.array([BIG]), [f"LSST-AP-DO-{BIG}"], str(BIG)):
        answer = archive.objects(ids, table=MAIN, columns=COLUMNS)
        assert answer.to_arrow()["r:diaObjectId"].to_pylist() == [BIG]
    frame = archive.objects([BIG], table=MAIN, columns=COLUMNS).to_pandas()
    assert frame["r:diaObjectId"].tolist() == [BIG]
    assert archive.select(table=MAIN, tag="faint_trails").to_arrow().num_rows == 2
    archive.close()


def test_ids_stay_exact_in_files(url: str, tmp_path: Path, opened: Opened) -> None:
    sources = whole(opened, MAIN).select(COLUMNS).to_pylist()
    words = ["get", "--url", url, "--table", MAIN, "--all", "--columns", ",".join(COLUMNS)]
    for name in ("out.csv", "out.parquet", "out.vot", "out.arrow"):
        done = CliRunner().invoke(main, [*words, "-o", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
    with (tmp_path / "out.csv").open() as file:
        rows = [{name: int(row[name]) for name in COLUMNS[:2]} for row in csv.DictReader(file)]
    assert rows == [{name: row[name] for name in COLUMNS[:2]} for row in sources]
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == sources
    table = parse_single_table(tmp_path / "out.vot").to_table()
    assert [int(value) for value in table[table.colnames[0]]] == [row["r:diaObjectId"] for row in sources]
    with pa.OSFile(str(tmp_path / "out.arrow")) as file:
        assert pa.ipc.open_file(file).read_all().to_pylist() == sources


def test_options_of_the_shell(url: str) -> None:
    for words, rows in ((["--tag", "faint_trails"], 2), (["--ids", f"LSST-AP-DO-{BIG}", "--forced"], 1)):
        done = CliRunner().invoke(main, ["get", "--url", url, "--table", MAIN, "--columns", "r:diaObjectId", *words, "-o", "-"])
        assert done.exit_code == 0, done.output
        assert len(list(csv.DictReader(done.stdout.splitlines()))) == rows


def test_an_upload_leaves_what_an_ingest_leaves(opened: Opened, tmp_path: Path) -> None:
    alerts = pq.read_table(RUBIN)
    uploaded = open_embedded(tmp_path)
    upload = Upload(uploaded.store, load_catalog(), "rubin", alerts.schema)
    for batch in alerts.to_batches(max_chunksize=2):
        upload.add(batch)
    report = upload.commit()
    upload.close()
    assert (report.alerts, report.unplaced) == (4, ())
    for table in (MAIN, "rubin.diaObject", "rubin.cutouts", "rubin.diaSource_sso", "rubin.pixel1024"):
        assert digest(whole(uploaded, table)) == digest(whole(opened, table)), table
    uploaded.store.close()


@pytest.mark.both_stores
def test_names_and_nights_that_are_loaded(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    archive = open_store()
    names = tmp_path / "names.json"
    names.write_text(
        json.dumps(
            [{"fullname": f"SN 2026{end}", "internalname": "x", "ra": "1.5", "declination": "-2"} for end in ("abc", "abd")]
        )
    )
    nights = tmp_path / "nights.csv"
    nights.write_text("night,alerts,is_sso\n20260309,4,1\n20260310,7,0\n")
    load(archive.store, load_catalog(), "rubin.tns_resolver", [names])
    load(archive.store, load_catalog(), "rubin.statistics", [nights])
    archive.archive.refresh()
    ask = asking(archive)
    (found,) = ask(table="rubin.tns_resolver", name="sn 2026ABC").table.to_pylist()
    assert (found["f:fullname"], found["f:salt"], found["f:ra"]) == ("SN 2026abc", "c", 1.5)
    assert ask(table="rubin.tns_resolver", name="SN 2026").record["rows"] == 0, "whole names only"
    assert ask(table="rubin.statistics", night="2026-03-10").table["f:alerts"].to_pylist() == [7]
    assert ask(table="rubin.statistics", night="202603", columns=["f:night", "f:is_sso"]).table.to_pylist() == [
        {"f:night": "20260309", "f:is_sso": 1},
        {"f:night": "20260310", "f:is_sso": 0},
    ]


def test_both_surveys_are_in_one_server(open_store: Callable[..., Opened]) -> None:
    archive = open_store()
    assert not archive.ingest(TDE, RUBIN).failures
    with FlightServer(archive.archive, archive.settings) as server, fl.connect(f"grpc://127.0.0.1:{server.port}") as client:
        said = {
            action: json.loads(next(iter(client.do_action(action))).body.to_pybytes()) for action in ("tables", "server-info")
        }
    assert {name: said["tables"][name]["rows"] for name in ("ztf", MAIN)} == {"ztf": 21, MAIN: 3}
    assert said["server-info"]["surveys"] == ["rubin", "ztf"]
