"""The page about machine learning, run where PyTorch is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from pages import ROOT, blocks, environment, run_python
from served_samples import sample_store, serving_store

PAGE = ROOT / "docs" / "how-to" / "machine-learning.md"


@pytest.mark.ml
@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed: ./scripts/test --all installs it")
def test_the_page_about_machine_learning_runs_and_prints_what_it_shows(tmp_path: Path) -> None:
    programs = [block for block in blocks(PAGE) if block.info in {"python", "python torch"}]
    with serving_store(sample_store(tmp_path)) as running:
        port = int(running.url.rsplit(":", 1)[1])
        printed = run_python(programs, tmp_path, environment(tmp_path), port)
    for block, text in zip(programs, printed, strict=True):
        assert block.expected is not None, f"{block.label} shows what it prints"
        assert text == block.expected, block.label
