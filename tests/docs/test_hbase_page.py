"""The page about HBase, run from its first command to its last against a real cluster."""

from __future__ import annotations

import shlex
import uuid
from pathlib import Path

import pytest
import yaml
from cluster_admin import ClusterAdmin
from clusters import Cluster
from pages import ROOT, Block, blocks, commands, environment, run_bash, run_python
from processes import COMMAND, serving

from flight_server.settings.resources import load_resource
from hbase_bridge.jar import find_jar

PAGE = ROOT / "docs" / "how-to" / "hbase.md"


def test_the_page_about_hbase_runs_and_prints_what_it_shows(
    cluster: Cluster, admin: ClusterAdmin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALERTFLIGHT_TEST_CLUSTER", raising=False)  # it would be taken for a setting
    prefix = f"page-{uuid.uuid4().hex[:8]}."
    _lay_out(tmp_path, cluster, prefix)
    before, after = _around_serve()
    try:
        _run(before, tmp_path)
        with serving([COMMAND, *_serve()[1:], "--port", "0"], folder=tmp_path) as running:
            assert "serving the tables from HBase" in running.printed
            _run(after, tmp_path, int(running.url.rsplit(":", 1)[1]))
    finally:
        if made := [table for table in admin.tables() if table.startswith(prefix)]:
            admin.drop(*made)


def _lay_out(folder: Path, cluster: Cluster, prefix: str) -> None:
    """Make the project folder for the commands, with the settings of this cluster."""
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    settings = yaml.safe_load((cluster.folder / "alertflight.yml").read_text())
    assert settings.keys() == load_resource("cluster.yml").keys()
    settings["hbase"]["prefix"] = prefix  # other tests have tables there
    settings["hdfs"]["archive"] = f"/{prefix}"
    settings["gateway"] = {"jar": str(find_jar())}
    (folder / "config").mkdir()
    (folder / "config" / "cluster.yml").write_text(yaml.safe_dump(settings))


def _is_serve(block: Block) -> bool:
    return block.info == "console" and any("serve --config config/cluster.yml" in line for line in commands(block))


def _serve() -> list[str]:
    (block,) = filter(_is_serve, blocks(PAGE))
    (command,) = commands(block)
    return shlex.split(command)


def _around_serve() -> tuple[list[Block], list[Block]]:
    """Return the blocks that run before the server starts, and those that need it."""
    found = blocks(PAGE)
    (line,) = (block.line for block in found if _is_serve(block))
    run = [block for block in found if block.info in {"bash cluster", "python cluster"}]
    return [block for block in run if block.line < line], [block for block in run if block.line > line]


def _run(some: list[Block], folder: Path, port: int = 8815) -> None:
    given = environment(folder) | {"ALERTFLIGHT_URL": f"grpc://127.0.0.1:{port}"}
    for block in some:
        if block.info == "bash cluster":
            printed = run_bash(block, folder, given, port)
            assert block.expected is None or printed == block.expected, block.label
    programs = [block for block in some if block.info == "python cluster"]
    if programs:
        for block, printed in zip(programs, run_python(programs, folder, given, port), strict=True):
            assert block.expected is None or printed == block.expected, block.label
