"""The selection of tests in a run: those without external programs, all, or the long ones too; and a report of those left out.

A plugin of pytest, loaded by conftest.py. A test that needs more than Python carries the marker of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from depth import load_depth

NEEDS = {
    "hbase": "a real HBase and HDFS",
    "java": "a JDK and Maven",
    "spark": "Spark, Dask and Ray",
    "ml": "PyTorch",
    "go": "Go",
    "wheel": "installing into environments of their own",
    "root": "the rights of root",
}
# tests with one of these stay on one worker: they share a cluster, a session of Spark, what Maven downloads, or build/
TOGETHER = {"hbase": "cluster", "java": "cluster", "wheel": "cluster", "spark": "spark"}
LONG = "long"
DEEP = "deep"
# what a test of these modules runs is not all in its own process, where testmon could see it
STARTING = re.compile(
    r"^(?:from|import) (?:subprocess|multiprocessing|pages|processes|served_samples|store_\w+|terminals|warm_commands)\b",
    re.MULTILINE,
)
LEFT_OUT = pytest.StashKey[Counter[str]]()
COLLECTED = pytest.StashKey[Counter[str]]()  # how many parameters of a deep test were collected so far
IS_DEEP = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("alertflight")
    group.addoption("--all", action="store_true", help="also tests that need more than Python, and more random examples")
    group.addoption("--long", action="store_true", help="all tests, the deep ones too, with ten times the random examples")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT] = Counter()
    config.stash[COLLECTED] = Counter()
    load_depth("long" if config.option.long else "all" if config.option.all else "default")


@pytest.hookimpl(trylast=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Group tests that share costly fixtures on one worker; the tests of a module are one group."""
    shared = next((group for need, group in TOGETHER.items() if item.get_closest_marker(need)), None)
    item.add_marker(pytest.mark.xdist_group(shared or item.nodeid.partition("::")[0]))
    if _starts_processes(item.path):
        item.add_marker(pytest.mark.process)
    if (deep := item.get_closest_marker(DEEP)) is not None:
        name, collected = item.nodeid.partition("[")[0], item.config.stash[COLLECTED]
        item.stash[IS_DEEP] = collected[name] >= deep.kwargs.get("after", 0)
        collected[name] += 1


@cache
def _starts_processes(file: Path) -> bool:
    return STARTING.search(file.read_text("utf-8")) is not None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that this run leaves out, and start the longest ones first."""
    left_out = [(item, reason) for item in items if (reason := _why_not(item, config))]
    config.stash[LEFT_OUT].update(reason for _, reason in left_out)
    gone = {item for item, _ in left_out}
    config.hook.pytest_deselected(items=list(gone))
    items[:] = sorted((item for item in items if item not in gone), key=_turn)


def _why_not(item: pytest.Item, config: pytest.Config) -> str | None:
    if config.option.long:
        return None
    if item.get_closest_marker(LONG):
        return LONG
    if config.option.all:
        return None
    need = next((need for need in NEEDS if item.get_closest_marker(need)), None)
    return need or (DEEP if item.stash.get(IS_DEEP, default=False) else None)


def _turn(item: pytest.Item) -> int:
    """Return the sort key of a test: the longest ones start first."""
    return next((turn for turn, need in enumerate(NEEDS) if item.get_closest_marker(need)), len(NEEDS))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Raise if xdist does not keep the tests of a group on one worker."""
    if getattr(session.config.option, "loadgroup", False) and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError("this pytest-xdist cannot keep tests of a group on one worker under this pytest")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the tests that this worker left out to the reporting process."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["left_out"] = dict(session.config.stash[LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the tests left out from a worker; all workers have the same."""
    if found := getattr(node, "workeroutput", {}).get("left_out"):
        node.config.stash[LEFT_OUT] = Counter(found)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if left_out := config.stash[LEFT_OUT]:
        terminalreporter.section("left out")
        for line in _lines(left_out):
            terminalreporter.line(line)


def _lines(left_out: Counter[str]) -> Iterable[str]:
    for need, what in NEEDS.items():
        if left_out[need]:
            yield f"{left_out[need]:5} that need {what}: ./scripts/test --all, or these alone: ./scripts/test --all -m {need}"
    if left_out[DEEP]:
        yield f"{left_out[DEEP]:5} that go deeper into what others show: ./scripts/test --all"
    if left_out[LONG]:
        yield f"{left_out[LONG]:5} that take long: ./scripts/test --long"
