"""The tests of the Java module, run by Maven."""

from __future__ import annotations

import subprocess

import pytest
from alert_data import ROOT


@pytest.mark.java
@pytest.mark.timeout(1800)  # the first time Maven downloads what it needs
def test_the_java_module_passes_its_own_tests() -> None:
    module = ROOT / "hbase_bridge" / "java"
    done = subprocess.run(["mvn", "-q", "-B", "test"], cwd=module, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    reports = list((module / "target" / "surefire-reports").glob("*.txt"))
    assert {report.name.split(".")[-2] for report in reports} >= {file.stem for file in module.rglob("*Test.java")}
