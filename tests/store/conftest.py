"""A store with more rows than the sample has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from alert_data import SAMPLES
from archives import Opened

from flight_server.simulate import simulate


@pytest.fixture(scope="session")
def large_sample(make_store: Callable[[], Opened], tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The sample alerts and three thousand simulated ones; nobody changes it."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate(folder, objects=300, nights=5, seed=1, alerts_each=10)
    held = make_store()
    held.ingest(SAMPLES, folder)
    return held
