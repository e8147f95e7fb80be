"""`alertflight schema` and `alertflight tables`: tables and columns of a server or store."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.flight as fl
import pytest
from alert_data import TDE
from archives import Opened
from click.testing import CliRunner, Result
from processes import COMMAND
from terminals import on_terminal

from flight_server.cli.app import main
from flight_server.flight import FlightServer


@pytest.fixture
def url(server: FlightServer) -> str:
    return f"grpc://127.0.0.1:{server.port}"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def schema(*words: str) -> Result:
    return run("schema", *words)


def said(client: fl.FlightClient, table: str) -> list[dict[str, object]]:
    (result,) = client.do_action(fl.Action("schema", table.encode()))
    return list(json.loads(result.body.to_pybytes()))


def test_json_is_what_the_server_says(url: str, client: fl.FlightClient) -> None:
    for table in ("ztf", "ztf.class"):
        assert json.loads(schema(table, "--url", url, "--format", "json").stdout) == said(client, table)


def test_a_pipe_gets_csv_with_everything(url: str, client: fl.FlightClient) -> None:
    done = schema("ztf", "--url", url)
    assert done.exit_code == 0, done.output
    assert done.stdout == schema("ztf", "--url", url, "--format", "csv").stdout
    found = pd.read_csv(io.StringIO(done.stdout), keep_default_na=False).to_dict("records")
    for row, column in zip(found, said(client, "ztf"), strict=True):
        lists = {name: " ".join(value) for name, value in column.items() if isinstance(value, list)}
        assert {name: value for name, value in row.items() if value or name in column} == column | lists


def test_a_store_says_the_same_as_its_server(sample: Opened, client: fl.FlightClient, tmp_path: Path) -> None:
    folder = str(sample.settings.folder)
    settings = tmp_path / "settings.yml"
    settings.write_text(f"data: {json.dumps(folder)}\n")
    for table in ("ztf", "ztf.pixel128"):
        for words in (("--data", folder), ("--config", str(settings))):
            assert json.loads(schema(table, *words, "--format", "json").stdout) == said(client, table)


@pytest.mark.parametrize("width", [80, 130])
def test_a_terminal_gets_a_table_that_fits_and_leaves_nothing_out(url: str, client: fl.FlightClient, width: int) -> None:
    lines = on_terminal([str(COMMAND), "schema", "ztf", "--url", url], width).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].split() == ["name", "type", "unit", "origin", "description"]
    columns = said(client, "ztf")
    assert [line.split()[0] for line in lines[1:] if not line.startswith(" ")] == [column["name"] for column in columns]
    words = " ".join(lines).split()
    for column in columns:
        for text in ("type", "unit", "origin"):
            assert set(str(column[text]).split()) <= set(words)
    place = lines[0].index("description")
    text = " ".join(line[place:] for line in lines[1:])
    at = 0
    for column in columns:  # one behind the other, however they are broken into lines
        at = text.index(str(column["description"]), at)
    assert "from i:objectId, i:jd, i:fid, i:magpsf, i:sigmapsf of all rows of an object" in text
    assert "needs cone in the ticket" in text


def test_what_is_wrong_is_said_in_one_sentence(url: str, tmp_path: Path) -> None:
    for words in (("--url", url), ("--data", str(tmp_path / "new"))):
        done = schema("ztf.uper", *words)
        assert done.exit_code == 2
        assert "there is no table 'ztf.uper'; did you mean ztf.upper" in done.stderr


@pytest.mark.parametrize("words", [("schema", "ztf"), ("tables",)], ids=" ".join)
def test_a_server_that_is_not_there(words: tuple[str, ...]) -> None:
    gone = run(*words, "--url", "grpc://127.0.0.1:1")
    assert (gone.exit_code, gone.stdout) == (3, "")
    assert "no answer from grpc://127.0.0.1:1" in gone.stderr
    nowhere = run(*words, "--url", "nowhere")
    assert nowhere.exit_code == 2
    assert "not the address of a server" in nowhere.stderr


@pytest.mark.parametrize("words", [("schema", "ztf"), ("tables",)], ids=" ".join)
def test_a_server_and_a_store_at_once_are_a_fault_of_usage(words: tuple[str, ...], tmp_path: Path) -> None:
    settings = tmp_path / "settings.yml"
    settings.write_text(f"data: {json.dumps(str(tmp_path / 'store'))}\n")
    for server in (("--url", "grpc://127.0.0.1:1"), ("--profile", "home")):
        for store in (("--data", str(tmp_path / "store")), ("--config", str(settings))):
            done = run(*words, *server, *store)
            assert (done.exit_code, done.stdout) == (2, "")
            assert f"{server[0]} names a server and {store[0]} a store: give one of them" in done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("words", [("schema", "ztf"), ("tables",)], ids=" ".join)
def test_a_server_is_asked_only_where_an_option_names_it(
    words: tuple[str, ...], url: str, sample: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = tmp_path / "alertflight" / "client.yml"
    profiles.parent.mkdir()
    profiles.write_text(f"default: gone\nprofiles: {{gone: {{url: 'grpc://127.0.0.1:1'}}, here: {{url: '{url}'}}}}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("ALERTFLIGHT_URL", "grpc://127.0.0.1:1")
    monkeypatch.setenv("ALERTFLIGHT_PROFILE", "gone")
    named = run(*words, "--profile", "here")
    assert named.exit_code == 0, named.stderr
    assert named.stdout == run(*words, "--data", str(sample.settings.folder)).stdout
    unnamed = run(*words)
    assert unnamed.exit_code == 0, unnamed.stderr
    assert unnamed.stdout == run(*words, "--data", str(tmp_path / "alertflight")).stdout != named.stdout
    assert run(*words, "--profile", "nobody").exit_code == 2


def test_the_other_commands_take_a_profile_too(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = tmp_path / "alertflight" / "client.yml"
    profiles.parent.mkdir()
    profiles.write_text(f"default: gone\nprofiles: {{gone: {{url: 'grpc://127.0.0.1:1'}}, here: {{url: '{url}'}}}}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("ALERTFLIGHT_URL", raising=False)
    monkeypatch.delenv("ALERTFLIGHT_PROFILE", raising=False)
    for words in (("get", "--all", "--columns", "i:jd"), ("cutout", "--id", "ZTF20abfcszi")):
        assert run(*words).exit_code == 3, "the default profile names a server that is not there"
        given = run(*words, "--profile", "here")
        assert given.exit_code == 0, given.stderr
        assert given.stdout == run(*words, "--url", url).stdout
    monkeypatch.setenv("ALERTFLIGHT_URL", url)
    assert run("get", "--all", "--columns", "i:jd").exit_code == 0
    assert run("get", "--all", "--columns", "i:jd", "--url", "grpc://127.0.0.1:1").exit_code == 3


def test_tables_are_listed_with_what_is_in_them_and_how_they_are_asked(sample: Opened, url: str) -> None:
    done = run("tables", "--data", str(sample.settings.folder))
    assert done.exit_code == 0, done.output
    asked = run("tables", "--url", url)
    assert (asked.exit_code, asked.stdout_bytes, asked.stderr) == (0, done.stdout_bytes, "")
    head, *rows, others = done.stdout.splitlines()
    states = sample.archive.states()
    assert [row.split()[0] for row in rows] == [name for name in states if not name.startswith("rubin.")]
    assert others == "all 18 tables of rubin are empty"
    cells = {row.split()[0]: row for row in rows}
    assert cells["ztf"].split()[1] == str(states["ztf"].rows) == "108"
    assert f"{states['ztf'].first:.4f} .. {states['ztf'].last:.4f}" in cells["ztf"]
    asked_by = slice(head.index("asked by"), head.index("what"))
    assert cells["ztf"][asked_by].strip() == "ids, cone, skymap, all"
    assert cells["ztf.class"][asked_by].strip() == "class, all"


def test_what_a_store_does_not_know_is_a_question_mark(url: str, store_kind: str) -> None:
    rows = run("tables", "--url", url).stdout.splitlines()
    ztf = next(row for row in rows if row.startswith("ztf "))
    assert ztf.split()[1] == ("?" if store_kind == "hbase" else "108")


def test_damaged_tables_are_named_and_the_others_listed(
    open_store: Callable[..., Opened],
) -> None:
    folder = open_store().settings.folder
    open_store().ingest(TDE)
    (segment,) = (folder / "segments" / "ztf").glob("*.keys")
    segment.unlink()
    damaged = open_store()
    with FlightServer(damaged.archive, damaged.settings) as running:
        asked = run("tables", "--url", f"grpc://127.0.0.1:{running.port}")
    read = run("tables", "--data", str(folder))
    assert (asked.exit_code, read.exit_code) == (1, 1)
    assert asked.stdout == read.stdout
    assert len(read.stdout.splitlines()) == 2 + len(damaged.archive.catalog().surveys["ztf"].tables)
    assert asked.stderr.startswith("ztf cannot be read: corrupt_data: ")
    assert f"segment {segment.stem} of ztf" in asked.stderr
    assert read.stderr == asked.stderr.rstrip("\n") + "; alertflight verify names the files\n"
