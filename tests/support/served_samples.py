"""Server processes over a store with the sample alerts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alert_data import SAMPLES
from processes import COMMAND, Serving, serving


def sample_store(folder: Path) -> Path:
    store = folder / "store"
    subprocess.run([COMMAND, "ingest", SAMPLES, "--data", store], check=True, capture_output=True)
    return store


@contextmanager
def serving_store(store: Path) -> Iterator[Serving]:
    with serving([COMMAND, "serve", "--port", "0", "--data", store]) as running:
        yield running
