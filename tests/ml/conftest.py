"""Skip tests that need PyTorch if it is not installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

collect_ignore = ["loading.py"]  # a program, which needs PyTorch
HERE = find_spec("torch") is not None


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.path.name.startswith("test_torch"):
        item.add_marker(pytest.mark.ml)
        if not HERE:
            item.add_marker(pytest.mark.skip(reason="PyTorch is not installed: ./scripts/test --all installs it"))
