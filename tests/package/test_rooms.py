"""What the import contracts of setup.cfg cannot say of the rooms."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from alert_data import ROOT

SERVER = ROOT / "flight_server"
MODULES = sorted(file for name in ("flight_server", "flight_client", "hbase_bridge") for file in (ROOT / name).rglob("*.py"))
ROOMS = sorted(folder for folder in SERVER.iterdir() if (folder / "__init__.py").exists())
LONGEST, MOST_AT_TOP = 400, 3
SURVEYS = re.compile("ztf|rubin|lsst", re.IGNORECASE)


def nodes(file: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(file.read_text("utf-8")))


def docstrings(file: Path) -> set[int]:
    """The places of docstrings, which may have examples."""
    owners = (node for node in nodes(file) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
    return {node.body[0].lineno for node in owners if ast.get_docstring(node)}


def test_only_the_room_flight_imports_the_server_side_of_flight() -> None:
    for file in SERVER.rglob("*.py"):
        names = {alias.name for node in nodes(file) if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in nodes(file) if isinstance(node, ast.ImportFrom)}
        assert "pyarrow.flight" not in names or file.parent.name == "flight", file


def test_the_client_uses_no_server_of_flight() -> None:
    for file in (ROOT / "flight_client").rglob("*.py"):
        used = {node.attr for node in nodes(file) if isinstance(node, ast.Attribute)}
        assert not used & {"FlightServerBase", "GeneratorStream", "RecordBatchStream", "ServerCallContext"}, file


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_survey_is_named(file: Path) -> None:
    held = docstrings(file)
    texts = [node for node in nodes(file) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    named = [node.lineno for node in texts if SURVEYS.search(node.value) and node.lineno not in held]
    names = [node.lineno for node in nodes(file) if isinstance(node, ast.Name) and SURVEYS.search(node.id)]
    assert not named + names, f"{file}: config/ says which surveys there are"


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_says_its_secret(room: Path) -> None:
    said = ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8"))) or ""
    assert len(said.splitlines()) >= 1
    assert 20 < len(said.partition("\n")[0]) < 130


def test_the_top_of_the_server_has_folders_and_few_files() -> None:
    assert len(list(SERVER.glob("*.py"))) <= MOST_AT_TOP


def test_no_file_is_too_long_and_most_are_short() -> None:
    lengths = {file: len(file.read_text("utf-8").splitlines()) for file in MODULES}
    assert not {str(file): length for file, length in lengths.items() if length > LONGEST}
    assert sorted(lengths.values())[len(lengths) // 2] <= 120
