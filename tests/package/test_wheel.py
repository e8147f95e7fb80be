"""The wheel: it works outside the repository, in an environment that has nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from alert_data import MANY_AVRO, ROOT, TDE
from environments import make_environment
from processes import serving

GET = """
import json, sys, pyarrow.flight as fl
ticket = json.dumps({"table": "ztf", "ids": ["ZTF20abfcszi"], "columns": ["i:jd", "i:magpsf"], "cutouts": ["Science"]})
print(fl.connect(sys.argv[1]).do_get(fl.Ticket(ticket)).read_all().num_rows)
"""


@pytest.mark.wheel
def test_the_wheel_serves_ingests_and_gets(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--installer", "uv", "--wheel", "--outdir", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("alertflight-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        "alertflight_config/alertflight.yml",
        "alertflight_config/tables/ztf.yml",
        "alertflight_config/columns/ztf.yml",
        "alertflight_config/derived/ztf.yml",
        "alertflight_config/classes/ztf.yml",
    } <= set(names)
    assert {"flight_server/py.typed", "flight_client/py.typed"} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "config/", "sample_data"))]

    home = tmp_path / "elsewhere"
    make_environment(home, wheel)
    command = home / "bin" / "alertflight"
    done = subprocess.run(
        [command, "ingest", TDE, MANY_AVRO, "--data", tmp_path / "store"], check=True, capture_output=True, text=True, cwd=home
    )
    assert "32 alerts of 2 files" in done.stdout
    with serving([command, "serve", "--port", "0", "--data", tmp_path / "store"], folder=home) as running:
        got = subprocess.run(
            [home / "bin" / "python", "-c", GET, running.url], check=True, capture_output=True, text=True, cwd=home
        )
        assert got.stdout.strip() == "21"
        shell = [command, "get", "--url", running.url, "--ids", "ZTF20abfcszi", "--columns", "i:jd,i:magpsf"]
        csv = subprocess.run(shell, check=True, capture_output=True, text=True, cwd=home)
        assert len(csv.stdout.splitlines()) == 22
