"""The command `check`: one ticket of each kind on each table, and a table of what came back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from alert_data import SAMPLES
from archives import open_embedded
from click.testing import CliRunner, Result

from flight_server.catalog.catalog import load_catalog
from flight_server.catalog.selections import selections_of
from flight_server.cli.app import main
from flight_server.execution.trials import try_table
from flight_server.ingest import count_nights, load
from flight_server.protocol.callers import Caller

CATALOG = load_catalog()
LINES = {"ztf": ["all", "ids", "cone", "skymap", "upper limits", "cutouts", "light curve"], "ztf.class": ["all", "class"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checked")
    opened = open_embedded(folder / "store")
    assert not opened.ingest(SAMPLES).failures
    count_nights(opened.store, CATALOG)
    names = folder / "names.json"
    names.write_text(
        json.dumps([{"fullname": "SN 2023ixf", "internalname": "ZTF23aaklqou", "ra": "210.9", "declination": "54.3"}])
    )
    load(opened.store, CATALOG, "ztf.tns_resolver", [names])
    aliases = folder / "aliases.json"
    aliases.write_text(json.dumps([{"ssnamenr": "8467", "name": "Benoitcarry", "number": "8467"}]))
    load(opened.store, CATALOG, "ztf.sso_resolver", [aliases])
    opened.store.close()
    return folder / "store"


def check(*options: object) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, options)])


def test_every_kind_of_ticket_is_tried_on_every_table(folder: Path) -> None:
    done = check("--data", folder)
    assert done.exit_code == 0, done.output
    lines = [line.split("  ") for line in done.stdout.splitlines()]
    tried: dict[str, list[str]] = {}
    for line in lines[1:-1]:
        cells = [cell.strip() for cell in line if cell.strip()]
        tried.setdefault(cells[0], []).append(cells[1])
    assert set(tried) == set(CATALOG.tables)
    assert {name: tried[name] for name in LINES} == LINES
    assert "failed" not in done.stdout.replace("0 failed", "")
    assert lines[-1][0].endswith("0 failed")


def test_each_kind_has_rows_where_the_table_has_any(folder: Path) -> None:
    opened = open_embedded(folder)
    filled = 0
    for name, table in CATALOG.tables.items():
        trials = list(try_table(opened.archive, name, Caller()))
        if trials[0].result == "empty":
            assert len(trials) == 1
            continue
        filled += 1
        assert {trial.kind for trial in trials} >= set(selections_of(table)) - {"stop"}
        for trial in trials:
            assert trial.result == "ok", trial
            assert json.loads(trial.ticket)["table"] == name
    assert filled > 8
    opened.store.close()


def test_what_is_damaged_fails_by_name_and_the_rest_is_tried(folder: Path) -> None:
    opened = open_embedded(folder)
    (segment,) = (folder / "segments" / "ztf.upper").glob("*.arrow")
    (block,) = (folder / "blocks").glob("*.parquet")
    contents = {file: file.read_bytes() for file in (segment, block)}
    opened.store.close()
    try:
        segment.write_bytes(b"")
        block.write_bytes(contents[block][:-100])
        done = check("--data", folder)
    finally:
        for file, content in contents.items():
            file.write_bytes(content)
    assert done.exit_code == 1
    failed = [line for line in done.stdout.splitlines() if "  failed  " in line]
    assert any(line.startswith("ztf.upper ") and "corrupt_data: a file of segment" in line for line in failed)
    assert any(line.startswith("ztf ") and "cutouts failed" in line for line in failed)
    assert any(line.startswith("ztf ") and "upper limits" in line for line in failed)
    assert len(failed) == 3
    assert done.stdout.splitlines()[-1].endswith("3 failed")
