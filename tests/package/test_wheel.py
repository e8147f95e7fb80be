"""The wheel works outside of the repository, in an empty environment."""

from __future__ import annotations

import os
import shutil
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


JAR = "hbase_bridge/gateway.jar"
HBASE = """
store: hbase
hbase:
  zookeeper: "127.0.0.1:1"
  properties: {zookeeper.recovery.retry: "0"}
"""


def build(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "build", "--installer", "uv", *options, "--outdir", folder, ROOT]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=os.environ | environment, check=False)


def wheel_in(folder: Path) -> Path:
    (wheel,) = folder.glob("alertflight-*.whl")
    return wheel


def only(folder: Path, *commands: str) -> str:
    """Return a PATH with only these commands."""
    folder.mkdir()
    for name in commands:
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return str(folder)


@pytest.mark.wheel
def test_a_wheel_without_maven_says_what_to_do(tmp_path: Path) -> None:
    done = build(tmp_path, "--wheel", PATH=only(tmp_path / "bin"), JAVA_HOME="", WITHOUT_GATEWAY_JAR="0")
    assert done.returncode
    (line,) = (line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error: "))
    for word in ("HBase gateway", "Maven", "JDK of version 17", "apt install", "WITHOUT_GATEWAY_JAR=1", "embedded store"):
        assert word in line
    assert not list(tmp_path.glob("*.whl"))


@pytest.mark.wheel
@pytest.mark.java
@pytest.mark.timeout(1800)  # the first time Maven downloads what it needs
def test_the_gateway_starts_from_the_jar_of_the_wheel_without_maven(tmp_path: Path) -> None:
    done = build(tmp_path)  # an sdist, and the wheel from that
    assert done.returncode == 0, done.stdout + done.stderr
    assert JAR in zipfile.ZipFile(wheel_in(tmp_path)).namelist()
    home, cache, config = tmp_path / "elsewhere", tmp_path / "cache", tmp_path / "alertflight.yml"
    python = make_environment(home, wheel_in(tmp_path))
    cache.mkdir()
    given = {"PATH": only(tmp_path / "bin", "java"), "XDG_CACHE_HOME": str(cache)}
    program = "from hbase_bridge.jar import find_jar; print(find_jar())"
    found = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True, cwd=home, env=given)
    jar = Path(found.stdout.strip())
    assert jar.is_relative_to(home)
    assert str(jar).endswith(JAR)
    # the process has started, taken its settings and looked for HBase: nothing else says this
    config.write_text(HBASE)
    command = [home / "bin" / "alertflight", "tables", "--config", config]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home, env=given)
    assert told.returncode, told.stdout
    assert "the ZooKeeper at 127.0.0.1:1 does not answer" in told.stderr
    assert not list(cache.iterdir())


@pytest.mark.wheel
def test_a_wheel_without_the_gateway_serves_ingests_and_gets(tmp_path: Path) -> None:
    done = build(tmp_path, "--wheel", WITHOUT_GATEWAY_JAR="1")
    assert done.returncode == 0, done.stdout + done.stderr
    wheel = wheel_in(tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    assert JAR not in names
    assert {"hbase_bridge/java/pom.xml", "hbase_bridge/java/src/main/java/alertflight/bridge/Main.java"} <= set(names)
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
