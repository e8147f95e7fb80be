"""Data loaders with workers, ranks and epochs: in separate processes, since the tests' process runs servers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served_samples import sample_store, serving_store

import flight_client as af

pytestmark = [pytest.mark.timeout(900)]

PROGRAM = Path(__file__).with_name("loading.py")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_store(sample_store(tmp_path_factory.mktemp("loading"))) as running:
        yield running.url


@pytest.fixture(scope="module")
def ids(url: str) -> list[str]:
    return sorted(set(af.connect(url).all("ztf", columns=["i:objectId"]).to_arrow()["i:objectId"].to_pylist()))


def run(url: str, what: str, argument: object) -> Any:
    command = [sys.executable, "-W", "error", str(PROGRAM), url, what, str(argument)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_each_object_comes_once_over_ranks_and_workers(url: str, ids: list[str], context: str) -> None:
    batches = run(url, "ranks", context)
    assert sorted(name for batch in batches for name in batch) == ids
    assert len(batches) > 8


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_that_stay_have_each_epoch_in_its_own_order(url: str, ids: list[str], context: str) -> None:
    first, second, again = run(url, "epochs", context)
    assert sorted(first) == sorted(second) == ids
    assert first == again != second


def test_an_epoch_that_was_cut_goes_on_with_workers(url: str, ids: list[str]) -> None:
    for found in run(url, "cut", "fork"):
        assert sorted(found["before"] + found["after"]) == ids
        assert sorted(found["later"]) == ids


def test_processes_of_torch_distributed_share_a_plan(url: str, ids: list[str], tmp_path: Path) -> None:
    first, second = run(url, "members", tmp_path)
    assert (first["rank"], second["rank"]) == (0, 1)
    assert first["endpoints"] == second["endpoints"]
    assert sorted(first["ids"] + second["ids"]) == ids
    assert first["refused"] == second["refused"] == "columns"
