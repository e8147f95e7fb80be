"""A store whose files a test changes while it is open."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from alert_data import NIGHT, TDE
from archives import Opened, open_embedded
from whole_tables import everything

from flight_server.storage.embedded import mapped_files


@pytest.fixture(scope="session")
def ingested_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ingested")
    opened = open_embedded(folder)
    opened.ingest(TDE, NIGHT)
    opened.store.close()
    return folder


@pytest.fixture
def opened(ingested_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """An open store all of which has been read; it looks at its files before each answer."""
    monkeypatch.setattr(mapped_files, "LOOK_SECONDS", 0.0)
    found = open_embedded(Path(shutil.copytree(ingested_folder, tmp_path / "store")))
    everything(found)
    assert found.archive.faults() == {}
    yield found
    found.store.close()
