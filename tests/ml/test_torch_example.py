"""The trained example is better than a guess."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from alert_data import ROOT


@pytest.mark.timeout(900)
def test_the_example_is_better_than_a_guess() -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "classify_light_curves.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    score, guess = (float(number) for number in re.findall(r"(0\.\d\d)$", done.stdout, re.MULTILINE))
    assert 0.2 < guess < 0.5
    assert score > guess + 0.2
