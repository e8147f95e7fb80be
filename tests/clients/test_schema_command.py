"""`alertflight schema` and `alertflight tables`: what there is, from a server or from a store."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pyarrow.flight as fl
import pytest
from archives import Opened
from click.testing import CliRunner, Result
from processes import COMMAND
from terminals import on_terminal

from flight_server.cli import main
from flight_server.flight import FlightServer


@pytest.fixture
def url(server: FlightServer) -> str:
    return f"grpc://127.0.0.1:{server.port}"


def schema(*words: str) -> Result:
    return CliRunner().invoke(main, ["schema", *words])


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
    assert schema("ztf", "--url", "grpc://127.0.0.1:1").exit_code == 3
    assert "no address of a server" in schema("ztf", "--url", "nowhere").stderr
    both = schema("ztf", "--url", url, "--data", str(tmp_path))
    assert both.exit_code == 2
    assert "give one of them" in both.stderr


def test_tables_are_listed_with_what_is_in_them_and_how_they_are_asked(sample: Opened) -> None:
    done = CliRunner().invoke(main, ["tables", "--data", str(sample.settings.folder)])
    assert done.exit_code == 0, done.output
    head, *rows = done.stdout.splitlines()
    states = sample.archive.states()
    assert [row.split()[0] for row in rows] == list(states)
    cells = {row.split()[0]: row for row in rows}
    assert cells["ztf"].split()[1] == str(states["ztf"].rows) == "108"
    assert f"{states['ztf'].first:.4f} .. {states['ztf'].last:.4f}" in cells["ztf"]
    asked = slice(head.index("asked by"), head.index("what"))
    assert cells["ztf"][asked].strip() == "ids, cone, skymap, all"
    assert cells["ztf.class"][asked].strip() == "class, all"
