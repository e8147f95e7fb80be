"""The page of the architecture, against the folders of the server, its contract of imports, and its files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from configparser import ConfigParser
from importlib import import_module

import pytest
from pages import ROOT, blocks, prose

PAGE = ROOT / "docs" / "explanation" / "architecture.md"
SERVER = ROOT / "flight_server"
ROOMS = {found.parent.name for found in SERVER.glob("*/__init__.py")}
FILE = re.compile(r"`((?:[a-z_]+/)+[a-z_]+\.[a-z]+)`")
NAME = re.compile(r"`([A-Z]\w*|[A-Z_]+)`")


def _section(heading: str) -> str:
    return prose(PAGE).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def _table_rooms() -> list[str]:
    return re.findall(r"^\| `(\w+)/` \|", _section("The rooms"), re.MULTILINE)


def _drawn_layers() -> list[list[str]]:
    """Return the rooms of the drawing, the lowest layer first."""
    (drawing,) = (block for block in blocks(PAGE) if block.info == "drawing")
    boxes = re.split(r"^[┌├└].*\n", drawing.text, flags=re.MULTILINE)
    layers = [[cell.split()[0] for cell in box.splitlines()[0].strip("│").split("│")] for box in boxes if box.strip()]
    return layers[::-1]


def _contract_layers() -> Iterator[list[set[str]]]:
    """Yield the layers of each contract over the rooms, the lowest first."""
    config = ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg")
    for section in config.sections():
        if section.startswith("importlinter") and config.get(section, "type", fallback="") == "layers":
            lines = config.get(section, "layers").strip().splitlines()[::-1]
            layers = [{room.strip(" ()").removeprefix("flight_server.") for room in re.split("[|:]", line)} for line in lines]
            if ROOMS & set().union(*layers):
                yield layers


def test_the_rooms_are_the_folders_of_the_server() -> None:
    assert sorted(_table_rooms()) == sorted(ROOMS)
    assert sorted(room for layer in _drawn_layers() for room in layer) == sorted(ROOMS)


def test_the_table_is_in_the_order_of_the_drawing() -> None:
    level = {room: number for number, layer in enumerate(_drawn_layers()) for room in layer}
    levels = [level[room] for room in _table_rooms()]
    assert levels == sorted(levels)


def test_the_drawing_is_the_contract_of_imports() -> None:
    contracts = list(_contract_layers())
    if not contracts:
        pytest.skip("setup.cfg has no contract of imports")
    assert [[layer & ROOMS for layer in layers] for layers in contracts] == [[set(layer) for layer in _drawn_layers()]]


def test_every_file_named_exists() -> None:
    named = FILE.findall(prose(PAGE))
    assert len(named) > 30
    assert [file for file in named if not (SERVER / file).is_file() and not (ROOT / file).is_file()] == []


def test_the_walk_has_about_twelve_stops() -> None:
    stops = re.findall(r"^\d+\. (.*)$", _section("The walk of a ticket"), re.MULTILINE)
    assert len(stops) == 12


def test_every_cache_named_exists() -> None:
    rows = re.findall(r"^\| (.*?, `.*?\.py`) \| .*? \| (.*?) \|$", _section("Caches"), re.MULTILINE)
    assert len(rows) >= 5
    for cache, bound in rows:
        (file,) = FILE.findall(cache)
        (name,) = NAME.findall(bound)
        module = import_module("flight_server." + file.removesuffix(".py").replace("/", "."))
        held = getattr(module, name)
        (number,) = re.findall(r"^[\d,]+", bound)
        most = held if isinstance(held, int) else held()._most
        assert most == int(number.replace(",", "")) * (2**20 if "MiB" in bound else 1), cache
