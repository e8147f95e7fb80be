"""A Java process that ends as it starts, before or after it was sent its settings: one error says so."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hbase_bridge import GatewayLost, GatewaySettings
from hbase_bridge.process import GatewayProcess


@pytest.mark.parametrize("script", ["exit 1", "exec <&-; touch closed; sleep 1", "read line; exit 1"])
def test_the_error_is_the_same_whenever_it_ends(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    settings = GatewaySettings(zookeeper="127.0.0.1:1", folder=tmp_path)
    process = GatewayProcess(settings, tmp_path / "no.jar")
    while "closed" in script and not (tmp_path / "closed").exists():
        time.sleep(0.01)
    with pytest.raises(GatewayLost, match="the gateway did not start"):
        process.connect(settings)
    assert not process.is_running
    assert not process.folder.exists()
