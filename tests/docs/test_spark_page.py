"""The page about Spark, Dask and Ray, run in the environment that has them."""

from __future__ import annotations

import json
import secrets
import tempfile
from pathlib import Path

import pytest
from pages import PORT, ROOT, RUNNER, blocks
from spark_sessions import program

from flight_server.flight import FlightServer

PAGE = ROOT / "docs" / "how-to" / "spark.md"
SECONDS = 300


@pytest.mark.spark
@pytest.mark.timeout(1200)
def test_the_page_about_spark_runs_and_prints_what_it_shows(server: FlightServer, tmp_path: Path) -> None:
    programs = [block for block in blocks(PAGE) if block.info == "python spark"]
    sent = json.dumps([(block.label, PORT.sub(str(server.port), block.text)) for block in programs])
    with tempfile.TemporaryDirectory(prefix="ray") as short:  # sockets have short names
        words = {
            "RAY_TMPDIR": short,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        with program(["-c", RUNNER], tmp_path, words) as process:
            said, _ = process.communicate(sent, timeout=SECONDS)
    assert process.returncode == 0, (tmp_path / "log").read_text()[-5000:]
    for block, printed in zip(programs, json.loads(said), strict=True):
        assert block.expected is None or printed == block.expected, block.label
