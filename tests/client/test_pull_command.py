"""`alertflight pull`: each row is in the folder exactly once, however often the command was killed."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq
import pytest
from alert_data import SAMPLES, TDE
from archives import Opened, ask, digest
from click.testing import CliRunner, Result
from cut_proxy import cutting
from processes import COMMAND
from terminals import on_terminal
from waiting import wait_until

from flight_server.cli.app import main
from flight_server.flight import FlightServer

COLUMNS = "i:objectId,i:candid,i:jd,i:magpsf"
KILLS = 6


@pytest.fixture
def url(server: FlightServer) -> str:
    return f"grpc://127.0.0.1:{server.port}"


@pytest.fixture
def ids(client: fl.FlightClient) -> list[str]:
    return sorted(set(ask(client, table="ztf", all=True, columns=["i:objectId"]).table["i:objectId"].to_pylist()))


@pytest.fixture
def ids_file(tmp_path: Path, ids: list[str]) -> Path:
    file = tmp_path / "ids.txt"
    file.write_text("".join(f"{one}\n" for one in [*ids[:5], "nobody", "", "  ", *ids[5:], "no one"]))
    return file


def pull(url: str, folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["pull", "--url", url, "-o", str(folder), *words])


def pulled(folder: Path) -> pa.Table:
    """Read the files in the manifest, and check them against it."""
    manifest = json.loads((folder / "_manifest.json").read_text())
    tables = []
    for part in manifest["parts"]:
        content = (folder / part["file"]).read_bytes()
        assert len(content) == part["bytes"]
        assert hashlib.sha256(content).hexdigest() == part["sha256"]
        tables.append(pq.read_table(folder / part["file"]))
        assert len(tables[-1]) == part["rows"]
    assert {file.name for file in folder.glob("*.parquet")} == {part["file"] for part in manifest["parts"]}
    return pa.concat_tables(tables)


def test_a_folder_holds_the_rows_in_order(
    url: str, client: fl.FlightClient, tmp_path: Path, ids_file: Path, ids: list[str]
) -> None:
    folder = tmp_path / "new" / "curves"
    done = pull(url, folder, "--ids-file", str(ids_file), "--columns", COLUMNS, "--objects-per-file", "20")
    assert done.exit_code == 0, done.output
    wanted = ask(client, table="ztf", ids=ids, columns=COLUMNS.split(",")).table
    assert digest(pulled(folder)) == digest(wanted)
    assert pq.read_schema(folder / "part-00000.parquet").equals(wanted.schema, check_metadata=True)
    assert done.stdout == f"{len(wanted)} rows of {len(ids)} objects in 4 files in {folder}\n"
    assert done.stderr == f"no rows for 2 of the IDs, listed in {folder / '_missing.txt'}\n"
    assert (folder / "_missing.txt").read_text() == "nobody\nno one\n"
    manifest = json.loads((folder / "_manifest.json").read_text())
    assert manifest["complete"]
    assert (manifest["rows"], manifest["objects"], manifest["missing"]) == (len(wanted), len(ids), 2)
    assert pq.read_table(folder).num_rows == len(wanted), "what reads folders takes no notice of the other files"
    again = pull(url, folder, "--ids-file", str(ids_file), "--columns", COLUMNS)
    assert again.stdout == f"{len(wanted)} rows of {len(ids)} objects in 4 files in {folder}, 4 of them written before\n"


@pytest.mark.both_stores
def test_a_whole_table(url: str, client: fl.FlightClient, tmp_path: Path) -> None:
    done = pull(url, tmp_path / "all", "--all", "--columns", COLUMNS, "--start", "2459063", "--upper-limits")
    assert done.exit_code == 0, done.output
    wanted = ask(client, table="ztf", all=True, columns=COLUMNS.split(","), start=2459063, upper_limits=True).table
    found = pulled(tmp_path / "all")
    assert sorted(map(str, found.to_pylist())) == sorted(map(str, wanted.to_pylist()))


def test_a_whole_table_that_grows_is_pulled_as_it_was(open_store: Callable[..., Opened], tmp_path: Path) -> None:
    opened = open_store()
    opened.ingest(TDE)
    with FlightServer(opened.archive, opened.settings) as server:
        url = f"grpc://127.0.0.1:{server.port}"
        assert pull(url, tmp_path / "all", "--all", "--columns", COLUMNS).exit_code == 0
        manifest = tmp_path / "all" / "_manifest.json"
        told = json.loads(manifest.read_text())
        # as after a kill in front of the last file
        manifest.write_text(json.dumps(told | {"parts": told["parts"][:-1], "complete": False}))
        opened.ingest(SAMPLES)
        assert pull(url, tmp_path / "all", "--all", "--columns", COLUMNS).exit_code == 0
    assert len(pulled(tmp_path / "all")) == 21
    again = json.loads(manifest.read_text())
    assert [part["rows"] for part in again["parts"]] == [part["rows"] for part in told["parts"]]
    assert again["complete"]


def test_stamps_go_into_files(url: str, client: fl.FlightClient, tmp_path: Path, ids_file: Path, ids: list[str]) -> None:
    words = ["--columns", "i:candid", "--cutouts", "Science", "--cutout-format", "array"]
    assert pull(url, tmp_path / "stamps", "--ids-file", str(ids_file), *words).exit_code == 0
    fields: dict[str, Any] = {"columns": ["i:candid"], "cutouts": ["Science"], "cutout_format": "array"}
    assert digest(pulled(tmp_path / "stamps")) == digest(ask(client, table="ztf", ids=ids, **fields).table)


@pytest.mark.deep
def test_killed_again_and_again_it_holds_each_row_once(
    url: str, client: fl.FlightClient, tmp_path: Path, ids_file: Path, ids: list[str]
) -> None:
    folder = tmp_path / "killed"
    manifest = folder / "_manifest.json"
    words = ["pull", "--url", url, "--ids-file", ids_file, "--columns", COLUMNS, "--objects-per-file", "1", "-o", folder]
    chance = random.Random(8)
    there = []
    for _ in range(KILLS):
        before = _parts(manifest)
        with subprocess.Popen([COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            wait_until(
                lambda process=process, before=before: _parts(manifest) > before or process.poll() is not None, "a part more"
            )
            time.sleep(chance.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
        there.append(_parts(manifest))
    assert there == sorted(there)
    assert 0 < there[0] < there[-1] < len(ids) + 2, "it was killed on its way, each time further on"
    assert pull(url, folder, *map(str, words[3:-2])).exit_code == 0
    assert digest(pulled(folder)) == digest(ask(client, table="ztf", ids=ids, columns=COLUMNS.split(",")).table)
    assert {file.name for file in folder.iterdir() if file.suffix != ".parquet"} == {"_manifest.json", "_missing.txt"}


def _parts(manifest: Path) -> int:
    return len(json.loads(manifest.read_text())["parts"]) if manifest.exists() else 0


def test_a_broken_connection_is_made_again(server: FlightServer, client: fl.FlightClient, tmp_path: Path) -> None:
    wanted = ask(client, table="ztf", all=True).table
    # a plan and a schema take most of the first share; no message with rows goes through the others
    with cutting(server.port, 150_000, 20_000, 20_000) as proxy:
        done = pull(proxy.url, tmp_path / "cut", "--all")
        assert done.exit_code == 0, done.output
        assert proxy.cuts == 3
    assert digest(pulled(tmp_path / "cut")) == digest(wanted)


def test_another_query_into_the_folder_is_refused(url: str, tmp_path: Path, ids_file: Path) -> None:
    folder = tmp_path / "curves"
    assert pull(url, folder, "--ids-file", str(ids_file), "--columns", "i:jd").exit_code == 0
    held = {file: file.read_bytes() for file in folder.iterdir()}
    other = tmp_path / "other.txt"
    other.write_text("ZTF20abfcszi\n")
    cases = {
        "columns": ["--ids-file", str(ids_file), "--columns", "i:jd,i:fid"],
        "ids is another list": ["--ids-file", str(other), "--columns", "i:jd"],
        "all": ["--all", "--columns", "i:jd"],
        "upper_limits": ["--ids-file", str(ids_file), "--columns", "i:jd", "--upper-limits"],
        "table": ["--ids-file", str(ids_file), "--columns", "i:jd", "--table", "ztf.upper"],
    }
    for name, words in cases.items():
        refused = pull(url, folder, *words)
        assert refused.exit_code == 2, name
        assert f"holds the answer to another query, whose {name}" in refused.stderr
    assert held == {file: file.read_bytes() for file in folder.iterdir()}


def test_files_that_are_not_as_they_were_are_named(url: str, tmp_path: Path, ids_file: Path) -> None:
    folder = tmp_path / "curves"
    words = ["--ids-file", str(ids_file), "--columns", "i:jd"]
    assert pull(url, folder, *words).exit_code == 0
    part, manifest = folder / "part-00000.parquet", folder / "_manifest.json"
    content = part.read_bytes()
    part.write_bytes(content[:-1])
    short = pull(url, folder, *words)
    assert (short.exit_code, "part-00000.parquet has" in short.stderr) == (1, True)
    part.unlink()
    gone = pull(url, folder, *words)
    assert (gone.exit_code, "part-00000.parquet is gone" in gone.stderr) == (1, True)
    part.write_bytes(content)
    told = manifest.read_text()
    manifest.write_text(told[:50])
    assert pull(url, folder, *words).exit_code == 1
    manifest.write_text(told.replace('"format": 1', '"format": 99'))
    assert "another release" in pull(url, folder, *words).stderr
    manifest.unlink()
    strange = pull(url, folder, *words)
    assert (strange.exit_code, "contains part-00000.parquet but no _manifest.json" in strange.stderr) == (2, True)


def test_two_at_once_are_refused(url: str, tmp_path: Path, ids_file: Path) -> None:
    import fcntl
    import os

    folder = tmp_path / "curves"
    folder.mkdir()
    opened = os.open(folder, os.O_RDONLY)
    fcntl.flock(opened, fcntl.LOCK_EX)
    refused = pull(url, folder, "--ids-file", str(ids_file))
    os.close(opened)
    assert refused.exit_code == 2
    assert "another pull is running" in refused.stderr
    assert pull(url, folder, "--ids-file", str(ids_file), "--columns", "i:jd").exit_code == 0


def test_what_is_asked_wrongly(url: str, tmp_path: Path, ids_file: Path) -> None:
    folder = tmp_path / "curves"
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n")
    cases: Iterator[tuple[list[str], str]] = iter(
        [
            ([], "select rows with --ids-file or --all"),
            (["--all", "--ids-file", str(ids_file)], "exactly one selection"),
            (["--ids-file", str(empty)], "has no IDs"),
            (["--all", "--columns", "i:jdd"], "did you mean i:jd"),
            (["--all", "--table", "ztff"], "there is no table"),
        ]
    )
    for words, said in cases:
        refused = pull(url, folder, *words)
        assert refused.exit_code == 2, words
        assert said in refused.stderr
    assert pull("grpc://127.0.0.1:1", folder, "--all").exit_code == 3
    assert not list(folder.glob("*")), "nothing was begun"


def test_a_terminal_sees_how_far_it_is(url: str, tmp_path: Path, ids_file: Path) -> None:
    words = [COMMAND, "pull", "--url", url, "--ids-file", ids_file, "--columns", "i:jd", "--objects-per-file", "5"]
    shown = on_terminal(["sh", "-c", 'exec "$@" 2>&1', "sh", *words, "-o", tmp_path / "curves"], 90)
    assert "of 16 parts" in shown
    assert "[" in shown
    assert shown.rstrip().endswith("_missing.txt")
