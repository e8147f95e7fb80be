"""Fixtures of fault tests: a warm process that runs commands, and their initial stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from store_faults import Runner, Scene, make_scenes
from warm_commands import WarmCommands


@pytest.fixture(scope="session")
def run() -> Iterator[Runner]:
    """Run a command in a process forked from a warm one."""
    with WarmCommands() as warm:
        yield Runner(warm)


@pytest.fixture(scope="session")
def scenes(run: Runner, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    """Commands with the contents of the store before and after; tests work on copies."""
    return make_scenes(tmp_path_factory.mktemp("scenes"), run)
