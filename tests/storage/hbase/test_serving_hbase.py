"""The commands over HBase, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.flight as fl
from archives import ask
from clusters import SHARED
from processes import COMMAND, children, run_example, serving


def test_a_server_over_hbase_serves_and_takes_its_gateway_with_it(ingested: Any) -> None:
    with serving([COMMAND, "serve", "--port", "0", "--config", ingested.config]) as running:
        zookeeper = ingested.stores.cluster.zookeeper
        assert f"serving the tables from HBase at {zookeeper}" in running.printed
        assert "is not served" not in running.printed
        assert "i:magpsf" in run_example(running.printed)
        with fl.connect(running.url) as client:
            assert ask(client, table="ztf", ids=["ZTF20abfcszi"], cutouts=["Science"]).record["missing_cutouts"] == 0
        (gateway,) = children(running.server)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0
        assert not is_running(gateway)


def test_a_table_that_cannot_be_served_is_told_at_the_start(empty: Any) -> None:
    admin = empty.stores.admin
    admin.put_schema(f"{empty.prefix}ztf.upper", "schema_1.0_1.0", {"i:objectId": "string", "i:jd": "double"})
    with serving([COMMAND, "serve", "--port", "0", "--config", empty.config]) as running:
        for table in ("ztf", "ztf.cutouts", "ztf.uppervalid"):
            assert f"{table} is not served: {table} has no schema row" in running.printed
        assert "ztf.upper is not served" not in running.printed
        with fl.connect(running.url) as client:
            assert ask(client, table="ztf.upper", ids=["a"]).record["missing"] == 1
            (health,) = client.do_action(fl.Action("health", b""))
            assert json.loads(health.body.to_pybytes())["tables"]["ztf"] == "table_refused"


def test_a_wrong_prefix_is_told_and_no_example_of_what_is_not_served(ingested: Any, tmp_path: Path) -> None:
    settings = json.loads(ingested.config.read_text())
    settings["hbase"] |= {"prefix": "wrong-", "tables": {SHARED: f"wrong-{SHARED}"}}
    config = tmp_path / "config.yml"
    config.write_text(json.dumps(settings))
    with serving([COMMAND, "serve", "--port", "0", "--config", config]) as running:
        assert "ztf is not served: the table wrong-ztf does not exist in HBase" in running.printed
        assert "no table is served: check the settings" in running.printed
        assert "import json" not in running.printed
    settings["hbase"]["tables"] |= {"ztf.upper": f"{ingested.prefix}ztf.upper"}
    config.write_text(json.dumps(settings))
    with serving([COMMAND, "serve", "--port", "0", "--config", config]) as running:
        assert '{"table": "ztf.upper"' in running.printed
        assert "ZTF" in run_example(running.printed)


def test_check_tries_every_table(ingested: Any) -> None:
    done = subprocess.run([COMMAND, "check", "--config", ingested.config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["ztf", "ids", "ok"] in [line[:3] for line in lines]
    assert ["ztf", "upper", "limits", "ok"] in [line[:4] for line in lines]
    assert ["ztf", "cutouts", "ok"] in [line[:3] for line in lines]
    assert ["ztf.class", "class", "ok"] in [line[:3] for line in lines]
    assert lines[-1][-2:] == ["0", "failed"]


def test_tables_that_an_installation_lacks_are_no_failures(ingested: Any, tmp_path: Path) -> None:
    settings = json.loads(ingested.config.read_text())
    settings["hbase"]["tables"] = settings["hbase"].get("tables", {}) | {"ztf.upper": "none-here"}
    config = tmp_path / "config.yml"
    config.write_text(json.dumps(settings))
    done = subprocess.run([COMMAND, "check", "--config", config], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("ztf.upper ")]
    assert len(lines) == 1
    assert "  absent  " in lines[0]
    assert "the table none-here does not exist in HBase" in lines[0]
    assert "2 absent" in done.stdout, "the upper limits of alerts need the table too"
    assert [line.split()[:4] for line in done.stdout.splitlines() if "  failed  " in line] == []
    assert done.returncode == 0
    settings["hbase"] |= {"prefix": "wrong-", "tables": {SHARED: f"wrong-{SHARED}"}}
    config.write_text(json.dumps(settings))
    done = subprocess.run([COMMAND, "check", "--config", config], capture_output=True, text=True, check=False)
    assert done.returncode == 1, "an installation without any table is no installation"


def test_commands_say_what_is_wrong_with_the_cluster(ingested: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    for text, reason in (
        ("hbase: {zookeeper: nonsense}", "the ZooKeeper at nonsense does not answer"),
        ("hbase: {tables: {ztff: x}}", "hbase.tables: there is no table 'ztff'"),
        ("hbase: {tables: {ztf: 'a b'}}", "hbase.tables: 'a b' cannot be a table in HBase"),
        ("gateway: {jar: /absent.jar}", "/absent.jar"),
        ("gateway: {heap: some}", "did not start"),
    ):
        config.write_text("store: hbase\n" + text)
        done = subprocess.run([COMMAND, "ingest", "x.parquet", "--config", config], capture_output=True, text=True, check=False)
        assert done.returncode in {2, 3}, done.stderr
        assert reason in done.stderr
        assert "Traceback" not in done.stderr


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
