"""Every command, program, ticket and link in the documentation, run and followed."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pyarrow.flight as fl
import pytest
import yaml
from pages import (
    FENCE,
    KINDS,
    PAGES,
    ROOT,
    Block,
    all_blocks,
    anchors,
    blocks,
    commands,
    environment,
    name,
    prose,
    run_bash,
    run_python,
)

import flight_client
from flight_client import Answer, Archive
from flight_client.profiles import WORDS, find_profile
from flight_server.catalog.columns import TYPES, Column
from flight_server.catalog.declarations import (
    Added,
    AlertLayout,
    BlockLayout,
    Condition,
    Family,
    Nested,
    Pixels,
    Points,
    Selection,
    Table,
    Tag,
    parse_survey,
)
from flight_server.cli.app import main
from flight_server.flight.actions import ACTIONS
from flight_server.protocol.errors import TRANSPORT
from flight_server.protocol.query import CUTOUT_KINDS
from flight_server.protocol.ticket_fields import FIELD_TYPES
from flight_server.settings import load_settings
from flight_server.settings.resources import load_folder, load_resource
from flight_server.storage.hbase.requests import NAMED_MOST

REFERENCE = ROOT / "docs" / "reference"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
IMAGE_BYTES = 80_000

# What sets up or serves is not run here: the scripts are run elsewhere, `serve` by the fixture below, and
# what `fink.yml` stands for is nobody's but the reader's.
NOT_RUN = {
    "./scripts/run",
    "alertflight check --config fink.yml",
    "./scripts/test",
    "./scripts/test --all",
    "./scripts/test --changed",
    "./scripts/test tests/flight -k stalls",
    "./scripts/test tests/protocol/test_times.py",
    '. scripts/venv.sh && ensure_venv lint "[lint,test]"',
    "ruff format --check .",
    "ruff check .",
    "mypy",
    "lint-imports",
    "./.ci/run",
    ". .venv/bin/activate",
    "pip install matplotlib",
    "alertflight serve --data DIR --port 9000",
    "ALERTFLIGHT_INGEST__DO_PUT=allow alertflight serve",
    "pip install 'alertflight[cluster]'",
    "./scripts/cluster up",
    "./scripts/cluster down",
    "alertflight serve --config config/cluster.yml",
    "alertflight tables --config fink.yml",
    "alertflight serve --config fink.yml",
    "./scripts/bench embedded",
    "./scripts/bench embedded --survey rubin",
    "./scripts/bench rows --rows 10000000",
    "./scripts/bench hbase",
    "./scripts/bench hbase-columns",
    "./scripts/bench hbase-ingest",
    "./scripts/bench cutouts",
    "./scripts/bench cutouts-decoding",
    "./scripts/bench derived",
    "./scripts/bench bulk",
    "./scripts/bench queries",
    "python examples/classify_light_curves.py",
}


@dataclass(frozen=True)
class Running:
    """A server process over the sample alerts, and a home for what the blocks run."""

    port: int
    home: Path

    def environment(self, folder: Path) -> dict[str, str]:
        return environment(self.home) | {"XDG_DATA_HOME": str(folder / "share")}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    store = str(home / "store")
    alertflight = str(Path(sys.executable).with_name("alertflight"))
    # a page uploads what is there already
    given = environment(home) | {"ALERTFLIGHT_INGEST__DO_PUT": "allow"}
    for words in (["sample_data/ztf"], ["--history", "sample_data/rubin"]):  # as scripts/run does
        subprocess.run([alertflight, "ingest", *words, "--data", store], cwd=ROOT, env=given, check=True)
    command = [alertflight, "serve", "--port", "0", "--data", store]
    with (home / "serve.log").open("w") as log:
        process = subprocess.Popen(command, cwd=home, env=given, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    with process.stdout:
        try:
            ready = next((line for line in process.stdout if line.startswith("ready ")), "")
            assert ready, (home / "serve.log").read_text()
            yield Running(int(ready.rsplit(":", 1)[1]), home)
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    return tmp_path


def _of_kind(info: str) -> list[Path]:
    return [page for page in PAGES if any(block.info == info for block in blocks(page))]


@pytest.mark.parametrize("page", _of_kind("bash"), ids=name)
def test_bash_blocks_run_and_print_what_the_page_shows(page: Path, running: Running, folder: Path) -> None:
    for block in blocks(page):
        if block.info == "bash":
            given = running.environment(folder)
            if re.search("alertflight (get|cutout|pull)", block.text):  # the page means the server at its usual port
                given["ALERTFLIGHT_URL"] = f"grpc://127.0.0.1:{running.port}"
            printed = run_bash(block, folder, given, running.port)
            if block.expected is not None:
                assert printed == block.expected, block.label


@pytest.mark.parametrize("page", _of_kind("python"), ids=name)
def test_python_blocks_run_and_print_what_the_page_shows(page: Path, running: Running, folder: Path) -> None:
    programs = [block for block in blocks(page) if block.info == "python"]
    printed = run_python(programs, folder, running.environment(folder), running.port)
    for block, text in zip(programs, printed, strict=True):
        if block.expected is not None:
            assert text == block.expected, block.label


def test_every_ticket_for_a_route_is_answered(running: Running) -> None:
    page = next(page for page in PAGES if page.name == "from-rest.md").read_text()
    tickets = re.findall(r'`(\{"table": .*?\})`', page)
    assert len(tickets) >= 15
    with fl.connect(f"grpc://127.0.0.1:{running.port}") as client:
        for ticket in tickets:
            *_, last = client.do_get(fl.Ticket(ticket))
            assert "complete" in json.loads(last.app_metadata.to_pybytes()), ticket


@pytest.mark.parametrize("block", all_blocks("json"), ids=lambda block: block.label)
def test_every_ticket_is_answered(block: Block, running: Running) -> None:
    ticket = json.loads(block.text)
    with fl.connect(f"grpc://127.0.0.1:{running.port}") as client:
        chunks = list(client.do_get(fl.Ticket(block.text)))
    record = json.loads(chunks[-1].app_metadata.to_pybytes())
    assert record["rows"] == sum(len(chunk.data) for chunk in chunks) > 0, block.label
    assert record["complete"] or "limit" in ticket


def test_every_command_that_is_not_run_is_known() -> None:
    assert {command for block in all_blocks("console") for command in commands(block)} == NOT_RUN


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_of_a_kind_that_is_checked(page: Path) -> None:
    found = blocks(page)
    assert {block.info for block in found} <= KINDS
    # what looks like a fence and is none would go unchecked
    assert "```" not in FENCE.sub("", page.read_text("utf-8"))
    shown = {block.shown.line for block in found if block.shown}
    outputs = [block for block in found if block.info.startswith("text")]
    assert [block.label for block in outputs if block.line not in shown] == [], "output without what prints it"
    for block in found:
        if block.info == "console":
            assert all(line.startswith("$ ") for line in block.text.splitlines()), block.label
            assert block.expected is None, f"{block.label} is not run: its output is a `text example`"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / unquote(path)).resolve() if path else page
        assert file.is_relative_to(ROOT), target
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_every_page_is_in_the_list_of_pages() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(prose(index))}
    assert set(PAGES) - {index, ROOT / "README.md"} <= linked


def test_images_are_small_and_used() -> None:
    images = set((ROOT / "docs" / "images").iterdir())
    used = {(page.parent / target).resolve() for page in PAGES for target in LINK.findall(prose(page))}
    assert images <= used
    assert all(image.stat().st_size < IMAGE_BYTES for image in images)


def _named(page: Path) -> set[str]:
    """Return the inline code of a page, with command options but without their values."""
    return {word for text in re.findall(r"`([^`\n]+)`", prose(page)) for word in [text, *re.split(r"[\s,]+", text)]}


def test_the_ticket_reference_names_every_field_and_error_code() -> None:
    named = _named(REFERENCE / "ticket.md")
    assert {*FIELD_TYPES, *CUTOUT_KINDS} <= named
    assert set(TRANSPORT) <= named
    assert set(ACTIONS) <= named


def test_the_error_table_says_how_each_error_travels() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (\w+) \|", prose(REFERENCE / "ticket.md"), re.MULTILINE)
    told = [(code, flight, retry) for code, flight, retry in rows if code in TRANSPORT]
    assert sorted(told) == sorted((code, way.flight, way.retry) for code, way in TRANSPORT.items())


def _settings(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{path}{key}.")
        else:
            yield path + key


def test_the_configuration_reference_names_every_setting() -> None:
    assert set(_settings(load_resource("alertflight.yml"))) <= _named(REFERENCE / "configuration.md")


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=lambda block: block.label)
def test_yaml_blocks_are_what_the_program_reads(block: Block, tmp_path: Path) -> None:
    loaded = yaml.safe_load(block.text)
    if "tables" in loaded:
        assert parse_survey(loaded).tables
    elif "columns" in loaded:
        for column, words in loaded["columns"].items():
            Column(name=column, **{**words, "type": TYPES[words["type"]]})
    elif "profiles" in loaded:
        file = tmp_path / "alertflight" / "client.yml"
        file.parent.mkdir()
        file.write_text(block.text)
        for profile in loaded["profiles"]:
            assert find_profile(None, profile, {"XDG_CONFIG_HOME": str(tmp_path)}).url == loaded["profiles"][profile]["url"]
    else:
        file = tmp_path / "settings.yml"
        file.write_text(block.text)
        assert load_settings(file, environment={})


def test_the_configuration_reference_shows_the_defaults() -> None:
    first = next(block for block in blocks(REFERENCE / "configuration.md") if block.info == "yaml")
    assert yaml.safe_load(first.text) == load_resource("alertflight.yml")


def test_the_configuration_reference_shows_the_settings_of_a_cluster() -> None:
    shown = [yaml.safe_load(block.text) for block in blocks(REFERENCE / "configuration.md") if block.info == "yaml"]
    assert load_resource("cluster.yml") in shown


def test_the_client_reference_names_everything_public() -> None:
    named = {re.split(r"[\s.(]", word.removeprefix("af."))[0] for word in _named(REFERENCE / "client.md")}
    assert {name for cls in (Archive, Answer) for name in vars(cls) if not name.startswith("_")} <= named
    assert {*WORDS, *inspect.signature(flight_client.connect).parameters} <= named
    assert {*flight_client.__all__} - {"Piece"} <= named


def test_the_table_reference_names_every_word_and_table() -> None:
    classes = (Table, AlertLayout, BlockLayout, Family, Nested, Added, Points, Pixels, Selection, Tag, Column)
    words = {name for cls in classes for name in cls.__annotations__} - {"block"} | {"blocks"}
    words |= set(Condition.__annotations__) - {"equal", "among"} | {"is", "in", "not", "either"}
    words |= {"survey", "alerts", "tables"}
    words |= {"cells", *TYPES}
    named = _named(REFERENCE / "tables.md")
    assert words - {"name"} <= named
    assert {table for declared in load_folder("tables") for table in declared["tables"]} <= named


def test_the_command_reference_names_every_command_and_option() -> None:
    named = _named(REFERENCE / "commands.md")
    context = click.Context(main)
    for command_name in main.list_commands(context):
        command = main.get_command(context, command_name)
        assert command is not None
        assert f"alertflight {command_name}" in {text for text in named if " " in text} | _headings()
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
        assert set(options) <= named, command_name
    assert {"--help", "-h", "--version"} <= named


@pytest.mark.parametrize("command", ["up", "down", "status", "reset"])
def test_the_command_reference_names_every_option_of_the_cluster(command: str) -> None:
    words = [sys.executable, str(ROOT / "scripts" / "cluster"), command, "--help"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    named = _named(REFERENCE / "commands.md")
    assert f"scripts/cluster {command}" in named
    assert set(re.findall(r"^ +(--[a-z-]+)", told, re.MULTILINE)) <= named


def test_the_page_of_the_bridge_has_the_number_of_named_columns() -> None:
    assert f"up to {NAMED_MOST} stored columns" in prose(ROOT / "docs" / "explanation" / "hbase-bridge.md")


def _headings() -> set[str]:
    return set(re.findall(r"^#+ `([^`]+)`", prose(REFERENCE / "commands.md"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_the_text_exist(page: Path) -> None:
    context = click.Context(main)
    for block in blocks(page):
        if block.info not in {"bash", "bash cluster", "console"}:
            continue
        for line in block.text.removeprefix("$ ").replace("\n$ ", "\n").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["alertflight"] and not words[1].startswith("-"):
                assert main.get_command(context, words[1]) is not None, block.label
