"""An archive with alerts of Rubin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from alert_data import RUBIN
from archives import Opened
from rubin_archives import Ask, asking


@pytest.fixture(scope="session")
def alerts() -> list[dict[str, Any]]:
    """The alerts of the sample file as they are there."""
    found: list[dict[str, Any]] = pq.read_table(RUBIN).to_pylist()
    return found


@pytest.fixture(scope="module")
def opened(make_store: Callable[[], Opened]) -> Opened:
    """An archive that the tests of a module share."""
    archive = make_store()
    assert not archive.ingest(RUBIN).failures
    return archive


@pytest.fixture(scope="module")
def asked(opened: Opened) -> Ask:
    return asking(opened)
