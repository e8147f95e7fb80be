"""`alertflight get`: output to files, pipes and terminals."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from archives import ask, digest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner, Result
from processes import COMMAND
from terminals import on_terminal

from flight_client.output import show
from flight_client.skymaps import read_skymap
from flight_server.cli.app import main
from flight_server.execution.sky_pixels import pixels_of
from flight_server.flight import FlightServer

CURVE = "i:objectId,i:candid,i:jd,i:fid,i:magpsf"


@pytest.fixture
def url(server: FlightServer) -> str:
    return f"grpc://127.0.0.1:{server.port}"


def get(url: str, *words: str) -> Result:
    return CliRunner().invoke(main, ["get", "--url", url, *words])


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv"])
def test_files_hold_the_rows_exactly(url: str, client: fl.FlightClient, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"curve.{ending}"
    done = get(url, "--ids", "ZTF20abfcszi,ZTF18abadigg", "--columns", CURVE, "-o", str(file))
    assert done.exit_code == 0, done.output
    wanted = ask(client, table="ztf", ids=["ZTF20abfcszi", "ZTF18abadigg"], columns=CURVE.split(",")).table
    if ending == "csv":
        found = pd.read_csv(file)
        assert found["i:candid"].tolist() == wanted["i:candid"].to_pylist(), "64-bit IDs are exact"
        assert found["i:magpsf"].astype("float32").tolist() == wanted["i:magpsf"].to_pylist()
    else:
        found = pq.read_table(file) if ending == "parquet" else pa.ipc.open_file(file).read_all()
        assert found.equals(wanted)
        assert found.schema.field("i:magpsf").metadata[b"unit"] == b"mag"
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name], "no draft is left"


def test_stamps_go_into_parquet_but_not_into_csv(url: str, tmp_path: Path) -> None:
    file = tmp_path / "stamps.parquet"
    done = get(
        url, "--ids", "ZTF20abfcszi", "--columns", "i:candid", "--cutouts", "Science", "--cutout-format", "fits", "-o", str(file)
    )
    assert done.exit_code == 0
    assert {len(stamp) for stamp in pq.read_table(file)["b:cutoutScience_stampData"].to_pylist()} == {20160}
    refused = get(url, "--ids", "ZTF20abfcszi", "--cutouts", "Science", "-o", str(tmp_path / "stamps.csv"))
    assert refused.exit_code == 2
    assert "CSV cannot hold b:cutoutScience_stampData" in refused.output
    assert not (tmp_path / "stamps.csv").exists()


def test_stamps_as_pixels_go_into_files_and_on_terminals_but_not_into_csv(
    url: str, client: fl.FlightClient, tmp_path: Path
) -> None:
    words = ["--ids", "ZTF20abfcszi", "--columns", "i:candid", "--cutouts", "Science", "--cutout-format", "array"]
    fields = {"columns": ["i:candid"], "cutouts": ["Science"], "cutout_format": "array"}
    wanted = ask(client, table="ztf", ids=["ZTF20abfcszi"], **fields).table
    for ending in ("parquet", "arrow"):
        file = tmp_path / f"stamps.{ending}"
        assert get(url, *words, "-o", str(file)).exit_code == 0
        found = pq.read_table(file) if ending == "parquet" else pa.ipc.open_file(file).read_all()
        assert found.schema.equals(wanted.schema)
        assert digest(found) == digest(wanted)
    for refused in (get(url, *words), get(url, *words, "-o", str(tmp_path / "stamps.csv"))):
        assert refused.exit_code == 2
        assert "CSV cannot hold b:cutoutScience_stampData" in refused.stderr
    shown = show(wanted.schema, wanted.to_batches()).splitlines()
    assert "<63 x 63 pixels>" in shown[1]


def test_a_votable_for_other_tools(url: str, client: fl.FlightClient, tmp_path: Path) -> None:
    wanted = ask(client, table="ztf", ids=["ZTF20abfcszi"], columns=CURVE.split(",")).table
    done = get(url, "--ids", "ZTF20abfcszi", "--columns", CURVE, "-o", str(tmp_path / "curve.vot"))
    assert done.exit_code == 0
    found = Table.read(tmp_path / "curve.vot", format="votable")
    assert found.colnames == [name.replace(":", "_") for name in wanted.column_names]
    for name in wanted.column_names:
        assert found[name.replace(":", "_")].tolist() == wanted[name].to_pylist()
    refused = get(url, "--ids", "ZTF20abfcszi", "--cutouts", "Science", "-o", str(tmp_path / "stamps.vot"))
    assert refused.exit_code != 0
    assert "cannot hold the bytes of b:cutoutScience_stampData" in refused.stderr
    assert not (tmp_path / "stamps.vot").exists()


def test_a_pipe_gets_csv(url: str) -> None:
    done = subprocess.run(
        [COMMAND, "get", "--url", url, "--ids", "ZTF20abfcszi", "--columns", CURVE], capture_output=True, check=True
    )
    assert len(pd.read_csv(io.BytesIO(done.stdout))) == 21


def test_a_terminal_gets_a_table_that_fits(url: str, client: fl.FlightClient) -> None:
    columns = len(ask(client, table="ztf", ids=["ZTF20abfcszi"], cutouts=["Science"]).table.schema)
    words = [str(COMMAND), "get", "--url", url, "--ids", "ZTF20abfcszi", "--cutouts", "Science"]
    lines = on_terminal(words, 90).splitlines()
    assert max(map(len, lines)) <= 90
    assert "i:objectId" in lines[0]
    assert "bytes>" in lines[1]
    assert lines[-1] == f"[21 rows x {columns} columns]"


def test_what_is_missing_is_said(url: str) -> None:
    done = get(url, "--ids", "ZTF20abfcszi", "--ids", "nobody", "--columns", "i:jd", "--limit", "30")
    assert done.exit_code == 0
    assert "no rows for 1 of the IDs: nobody" in done.stderr
    limited = get(url, "--ids", "ZTF20abfcszi", "--columns", "i:jd", "--limit", "3")
    assert "more rows match; raise --limit or leave it out" in limited.stderr
    assert len(limited.stdout.splitlines()) == 4


def test_every_option_reaches_the_ticket(url: str, client: fl.FlightClient) -> None:
    words = [
        "--all",
        "--table",
        "ztf",
        "--columns",
        "i:jd,i:objectId",
        "--start",
        "2459063",
        "--stop",
        "2020-08-20",
        "--upper-limits",
    ]
    done = get(url, *words)
    wanted = ask(
        client, table="ztf", all=True, columns=["i:jd", "i:objectId"], start=2459063, stop="2020-08-20", upper_limits=True
    )
    found = pd.read_csv(io.StringIO(done.stdout))
    assert list(found.columns) == ["i:jd", "i:objectId", "d:tag"]
    assert found["i:jd"].tolist() == wanted.table["i:jd"].to_pylist()
    assert len(found) > 0


def test_exit_codes(url: str, tmp_path: Path) -> None:
    assert get(url, "--ids", "ZTF20abfcszi", "--columns", "i:jdd").exit_code == 2
    assert get(url).exit_code == 2
    assert get(url, "--ids", "a", "-o", str(tmp_path / "x.fits")).exit_code == 2
    assert get("grpc://127.0.0.1:1", "--ids", "a").exit_code == 3
    assert "is the server running?" in get("grpc://127.0.0.1:1", "--ids", "a").output
    assert CliRunner().invoke(main, ["--version"]).output.startswith("alertflight, version")
    assert "get" in CliRunner().invoke(main, ["--help"]).output


def test_bounds_are_never_dropped_in_silence(url: str, tmp_path: Path) -> None:
    assert get(url, "--ids", "ZTF20abfcszi", "--start", "").exit_code == 2
    assert "no rows for 1" in get(url, "--ids", "ZTF20abfcszi", "--columns", "i:jd", "--stop", "1990-01-01").stderr
    for target in (tmp_path / "absent" / "x.csv", Path(__file__) / "x.csv"):
        done = get(url, "--ids", "ZTF20abfcszi", "--columns", "i:jd", "-o", str(target))
        assert done.exit_code == 2
        assert "cannot be written" in done.output


def test_rows_are_chosen_by_every_selection_of_the_ticket(url: str, client: fl.FlightClient, tmp_path: Path) -> None:
    (row,) = ask(client, table="ztf", ids=["ZTF20abfcszi"], columns=["i:ra", "i:dec"], limit=1).table.to_pylist()
    ra, dec = row["i:ra"], row["i:dec"]
    (known,) = ask(client, table="ztf.ssnamenr", all=True, columns=["i:ssnamenr"], limit=1).table.to_pylist()
    values = np.zeros(12)
    values[pixels_of(np.array([ra]), np.array([dec]), 1)[0]] = 1.0
    table = fits.BinTableHDU.from_columns([fits.Column(name="PROB", format="D", array=values)])
    table.header["NSIDE"] = 1
    table.writeto(tmp_path / "map.fits")
    cases: list[tuple[list[str], dict[str, Any]]] = [
        (["--cone", str(ra), str(dec), "5"], {"table": "ztf", "cone": {"ra": ra, "dec": dec, "radius": 5}}),
        (
            ["--table", "ztf.class", "--class", "SN candidate", "--limit-objects", "2"],
            {"table": "ztf.class", "class": "SN candidate", "limit_objects": 2},
        ),
        (["--table", "ztf.ssnamenr", "--sso", known["i:ssnamenr"]], {"table": "ztf.ssnamenr", "sso": known["i:ssnamenr"]}),
        (["--table", "ztf.anomaly", "--start", "2459000"], {"table": "ztf.anomaly", "start": 2459000}),
        (["--skymap", str(tmp_path / "map.fits")], {"table": "ztf", "skymap": read_skymap(tmp_path / "map.fits", 0.9)}),
    ]
    for number, (words, ticket) in enumerate(cases):
        file = tmp_path / f"{number}.parquet"
        done = get(url, *words, "--columns", "i:objectId,i:jd", "-o", str(file))
        assert done.exit_code == 0, done.output
        expected = ask(client, columns=["i:objectId", "i:jd"], **ticket).table
        assert len(expected) > 0
        assert pq.read_table(file).equals(expected)
    for words in (["--table", "ztf.tracklet", "--tracklet", "TRCK_"], ["--table", "statistics_class", "--night", "2020"]):
        assert get(url, *words).exit_code == 0
    assert get(url, "--table", "ztf.tns_resolver", "--name", "AT").exit_code == 0
    refused = get(url, "--cone", str(ra), "91", "5")
    assert refused.exit_code == 2
    assert "cone.dec must be a number from -90 to 90" in refused.stderr
