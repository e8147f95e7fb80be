"""The serving process: from the command line to its end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from alert_data import ROOT, SAMPLES, TDE
from processes import COMMAND, run_example, serving


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    subprocess.run([COMMAND, "ingest", SAMPLES, "--data", folder], check=True, capture_output=True)
    return folder


def test_the_printed_example_can_be_pasted(data: Path) -> None:
    with serving([COMMAND, "serve", "--port", "0", "--data", data]) as running:
        assert "serving 108 rows of ztf" in running.printed
        said = run_example(running.printed)
    assert "i:magpsf" in said
    assert said.count("\n") == 22
    assert running.process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_order_on_a_signal(data: Path, number: signal.Signals) -> None:
    with serving([COMMAND, "serve", "--port", "0", "--data", data]) as running:
        running.process.send_signal(number)
        assert running.process.wait(60) == 0


@pytest.mark.deep
def test_a_client_that_stopped_reading_does_not_keep_it(tmp_path: Path) -> None:
    table = pq.ParquetFile(TDE).read()
    place = table.column_names.index("objectId")
    copies = [table.set_column(place, "objectId", pa.array([f"ZTF{number}"] * 21)) for number in range(40)]
    pq.write_table(pa.concat_tables(copies), tmp_path / "many.parquet")
    subprocess.run([COMMAND, "ingest", tmp_path / "many.parquet", "--data", tmp_path / "store"], check=True, capture_output=True)
    with serving([COMMAND, "serve", "--port", "0", "--data", tmp_path / "store"]) as running:
        client = fl.connect(running.url)
        stalled = client.do_get(fl.Ticket(json.dumps({"table": "ztf", "all": True, "cutouts": ["Science", "Template"]})))
        stalled.read_chunk()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 1, "an answer was cut off"
        client.close()


def test_a_taken_port_is_named(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [COMMAND, "serve", "--port", str(port), "--data", data], capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert f"127.0.0.1:{port} is taken" in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_come_from_file_and_environment(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text(f"data: {tmp_path / 'from-file'}\nserver: {{port: 1}}\n")
    with serving([COMMAND, "serve", "--config", config], {"ALERTFLIGHT_SERVER__PORT": "0"}) as running:
        assert f"serving no rows from {tmp_path / 'from-file'}" in running.printed
    config.write_text("servr: {port: 1}\n")
    done = subprocess.run([COMMAND, "serve", "--config", config], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "servr" in done.stderr


@pytest.mark.wheel
def test_scripts_run_sets_up_everything_in_a_fresh_checkout(tmp_path: Path) -> None:
    checkout, home = tmp_path / "checkout", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
    for name in subprocess.run(
        ["git", "ls-files", "-mo", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():  # what is changed but not committed is tested too
            (checkout / name).write_bytes((ROOT / name).read_bytes())
            (checkout / name).chmod((ROOT / name).stat().st_mode)
    environment = {"HOME": str(home), "XDG_DATA_HOME": str(home / "data")}
    for start in ("first", "second"):
        with serving(["./scripts/run", "--port", "0"], environment, checkout) as running:
            assert ("installing" in running.printed) == (start == "first")
            assert "serving 108 rows of ztf" in running.printed
            assert "i:magpsf" in run_example(running.printed, checkout / ".venv" / "bin" / "python")
    assert (home / "data" / "alertflight" / "manifest.sqlite").exists()


@pytest.mark.deep
def test_a_server_compacts_in_the_background_when_told_to(tmp_path: Path) -> None:
    table = pq.ParquetFile(TDE).read()
    for number in range(5):
        pq.write_table(table.slice(number * 4, 4), tmp_path / f"{number}.parquet")
        subprocess.run(
            [COMMAND, "ingest", tmp_path / f"{number}.parquet", "--data", tmp_path / "store"], check=True, capture_output=True
        )
    segments = tmp_path / "store" / "segments" / "ztf"
    assert len(list(segments.glob("*.arrow"))) == 5
    environment = {"ALERTFLIGHT_COMPACTION": "{background: true, seconds: 0.2}"}
    with serving([COMMAND, "serve", "--port", "0", "--data", tmp_path / "store"], environment) as running:
        ticket = fl.Ticket(json.dumps({"table": "ztf", "ids": ["ZTF20abfcszi"], "columns": ["i:jd"]}))
        client = fl.connect(running.url)
        rows = set()
        for _ in range(100_000):  # a bound, not a time: about a minute of asking
            rows.add(client.do_get(ticket).read_all().num_rows)
            if len(list(segments.glob("*.arrow"))) == 1:
                break
        assert rows == {20}
        assert len(list(segments.glob("*.arrow"))) == 1
        assert client.do_get(ticket).read_all().num_rows == 20
        client.close()
