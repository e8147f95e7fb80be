"""A disk that is full, broken or read-only: a clear error, the old data intact, and a retry that works."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pyarrow.flight as fl
import pytest
from alert_data import MANY_AVRO, NIGHT, TDE
from archives import Opened, ask, open_embedded
from processes import COMMAND, serving
from store_faults import (
    COMPACTING,
    EMBEDDED,
    INGESTING,
    SPILLING,
    Contents,
    Runner,
    Scene,
    checked_contents,
    contents,
    damage,
    do,
    do_again,
    everything,
    files,
    is_clear,
    unprivileged,
    until_unharmed,
)

from flight_server.protocol.errors import AlertflightError
from flight_server.storage import injection
from flight_server.storage.embedded import EmbeddedStore

COMMITTED = ("commit.after", "compact.committed", "compact.removing")
PAGE = 4096
WALLS = 16
POINTS = [("again", point) for point in INGESTING] + [("compact", point) for point in COMPACTING]


@pytest.mark.deep(after=4)
@pytest.mark.parametrize(("name", "point"), POINTS)
def test_a_command_fails_at_a_point(name: str, point: str, scenes: dict[str, Scene], run: Runner, tmp_path: Path) -> None:
    scene, action = scenes[name], "eio" if name == "again" else "enospc"
    data = scene.copy(tmp_path / "data")
    done = run(scene.command, data, f"{point}:{action}:1", **SPILLING)
    assert is_clear(done), done.stderr
    assert ("Input/output error" if action == "eio" else "No space left on device") in done.stderr
    assert checked_contents(data) == (scene.after if point in COMMITTED else scene.before)
    do_again(scene, data)
    assert contents(data) == checked_contents(data) == scene.after


def test_an_error_after_the_commit_does_not_say_that_nothing_has_changed(
    scenes: dict[str, Scene], run: Runner, tmp_path: Path
) -> None:
    data = scenes["again"].copy(tmp_path / "data")
    done = run(scenes["again"].command, data, "commit.after:eio:1")
    assert contents(data) == scenes["again"].after
    assert "it is unchanged" not in done.stderr


@pytest.mark.deep(after=3)
@pytest.mark.parametrize(("name", "point"), POINTS)
def test_an_open_store_goes_on_after_each_fault(
    name: str, point: str, scenes: dict[str, Scene], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scenes[name]
    for constant, value in SPILLING.items():
        monkeypatch.setattr(constant, value)

    def attempt(turn: int) -> bool:
        data = scene.copy(tmp_path / str(turn))
        store = EmbeddedStore(data)
        monkeypatch.setattr(injection, "_passed", count(1))
        monkeypatch.setenv("ALERTFLIGHT_INJECT", f"{point}:{('eio', 'enospc')[turn % 2]}:{turn}")
        try:
            do(scene, store)
        except AlertflightError as error:
            assert error.code == "backend_lost"
            monkeypatch.delenv("ALERTFLIGHT_INJECT")
            assert checked_contents(data) in (scene.before, scene.after)
            do(scene, store)
            failed = True
        else:
            monkeypatch.delenv("ALERTFLIGHT_INJECT")
            failed = False
        store.close()
        assert checked_contents(data) == scene.after
        shutil.rmtree(data)
        return failed

    assert until_unharmed(attempt) > 0, "the point was never passed"


@pytest.mark.deep
@pytest.mark.parametrize("name", ["first", "again", "compact"])
def test_a_limit_on_the_size_of_files(name: str, scenes: dict[str, Scene], run: Runner, tmp_path: Path) -> None:
    scene = scenes[name]
    refused = 0
    for number, limit in enumerate((1, PAGE, 20_000, 60_000, 200_000, 1_000_000)):
        data = scene.copy(tmp_path / str(number))
        done = run(scene.command, data, file_bytes=limit, **SPILLING)
        if done.returncode != 0:
            refused += 1
            assert is_clear(done), (limit, done.stderr)
            assert checked_contents(data) == scene.before, limit
            do_again(scene, data)
        assert checked_contents(data) == scene.after
        shutil.rmtree(data)
    assert refused > 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a disk of the given size, bytes."""
    mounted = []

    def mount(size: int) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "alertflight-test", place], capture_output=True, text=True, check=False
        )
        if made.returncode:
            pytest.skip(f"no disk can be mounted here: {made.stderr.strip()}")
        mounted.append(place)
        return place

    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", place], check=True)


def leave(folder: Path, free: int) -> Path:
    """Fill the disk up to the given free bytes; return the file to delete."""
    filler = folder / "filler"
    found = os.statvfs(folder)
    size = found.f_bavail * found.f_bsize - free
    filler.write_bytes(bytes(size))
    return filler


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_bsize


@pytest.mark.root
@pytest.mark.parametrize("name", ["first", "again", "compact"])
def test_a_full_disk_page_by_page(
    name: str, scenes: dict[str, Scene], small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last pages that a command writes are those of the manifest; the disk is full at each of them in turn."""
    disk, scene = small_disk(32 << 20), scenes[name]
    data = scene.copy(disk / "measured")
    store = EmbeddedStore(data)
    before = free(disk)
    with monkeypatch.context() as patched:
        patched.setattr(f"{EMBEDDED}.compaction.remove_leftovers", lambda *_: None)
        do(scene, store)
    needed = before - free(disk)
    store.close()
    shutil.rmtree(data)
    messages = set()
    for pages in range(-4, WALLS):
        data = scene.copy(disk / "data")
        store = EmbeddedStore(data)
        filler = leave(disk, max(0, needed - pages * PAGE))
        try:
            do(scene, store)
        except AlertflightError as error:
            messages.add(error.message)
            assert error.code == "backend_lost", error.message
            assert checked_contents(data) in (scene.before, scene.after)
        filler.unlink()
        assert damage(data) == []
        do(scene, store)  # the same process tries again, as a server would
        store.close()
        assert checked_contents(data) == scene.after
        shutil.rmtree(data)
    assert messages
    assert all("full" in message or "No space" in message for message in messages), messages


@pytest.mark.root
def test_a_command_on_a_full_disk(scenes: dict[str, Scene], run: Runner, small_disk: Callable[[int], Path]) -> None:
    disk, scene = small_disk(16 << 20), scenes["again"]
    data = scene.copy(disk / "data")
    refused = 0
    for left in (0, PAGE, 16 * PAGE, 64 * PAGE, 200 * PAGE):
        filler = leave(disk, left)
        done = run(scene.command, data, **SPILLING)
        filler.unlink()
        if done.returncode:
            refused += 1
            assert is_clear(done), (left, done.stderr)
            assert checked_contents(data) == scene.before
        else:
            assert checked_contents(data) == scene.after
    assert refused > 1
    assert run(scene.command, data).returncode == 0
    assert contents(data) == scene.after


@pytest.fixture
def read_only(scenes: dict[str, Scene], tmp_path: Path) -> Iterator[tuple[Path, Contents]]:
    data = scenes["again"].copy(tmp_path / "data")
    entries = [data, *data.rglob("*")]
    for entry in entries:
        entry.chmod(0o555 if entry.is_dir() else 0o444)
    yield data, scenes["again"].before
    for entry in entries:
        if entry.exists():
            entry.chmod(0o755 if entry.is_dir() else 0o644)


def run_unprivileged(*command: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(unprivileged([COMMAND, *command]), capture_output=True, text=True, check=False)
    if "cannot be given up" in done.stderr:
        pytest.skip("root cannot give up its right to write anywhere")
    return done


@pytest.mark.parametrize("command", [("ingest", MANY_AVRO), ("compact", "--full")])
def test_a_read_only_folder_is_refused_in_one_line(read_only: tuple[Path, Contents], command: tuple[str | Path, ...]) -> None:
    data, before = read_only
    held = files(data)
    done = run_unprivileged(*command, "--data", data)
    assert is_clear(done), done.stderr
    assert "ermission denied" in done.stderr or "read-only" in done.stderr.lower()
    assert files(data) == held
    assert contents(data) == before


def test_a_store_in_a_read_only_place_cannot_be_made(read_only: tuple[Path, Contents]) -> None:
    done = run_unprivileged("ingest", TDE, "--data", read_only[0] / "new")
    assert is_clear(done), done.stderr
    assert not (read_only[0] / "new").exists()


def test_a_read_only_folder_can_be_listed_and_verified(read_only: tuple[Path, Contents]) -> None:
    for command in ("tables", "verify"):
        done = run_unprivileged(command, "--data", read_only[0])
        assert done.returncode == 0, done.stderr


def test_a_read_only_folder_is_served(read_only: tuple[Path, Contents]) -> None:
    data, before = read_only
    run_unprivileged("tables", "--data", data)  # skips where rights cannot be given up
    with (
        serving(unprivileged([COMMAND, "serve", "--port", "0", "--data", data])) as running,
        fl.connect(running.url) as client,
    ):
        found = ask(client, table="ztf", all=True, cutouts=["Science", "Template", "Difference"], digest=True)
    assert (found.record["rows"], found.record["digest"]) == before["ztf"]


def test_an_ingest_of_files_that_cannot_be_read_changes_nothing(scenes: dict[str, Scene], run: Runner, tmp_path: Path) -> None:
    data = scenes["again"].copy(tmp_path / "data")
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(TDE.read_bytes()[: TDE.stat().st_size // 2])
    done = run(("ingest", cut), data)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(cut) in done.stderr
    assert contents(data) == scenes["again"].before


def test_readers_go_on_while_an_ingest_fails(
    scenes: dict[str, Scene], open_store: Callable[..., Opened], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scenes["again"]
    scene.copy(tmp_path / "store")
    opened = open_store()
    for point in INGESTING[:-1]:
        with monkeypatch.context() as patched:
            for constant, value in SPILLING.items():
                patched.setattr(constant, value)
            patched.setattr(injection, "_passed", count(1))
            patched.setenv("ALERTFLIGHT_INJECT", f"{point}:enospc:1")
            with pytest.raises(AlertflightError, match="No space left"):
                do(scene, opened.store)
        assert {name: everything(opened.archive, name) for name in scene.before} == scene.before
    assert json.dumps(scene.before) == json.dumps(contents(tmp_path / "store"))


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(None, 0o600), (0o750, 0o640), (0o2770, 0o660)])
def test_only_those_who_may_see_the_folder_may_see_its_files(tmp_path: Path, folder_mode: int | None, file_mode: int) -> None:
    store = tmp_path / "store"
    if folder_mode is not None:
        store.mkdir()
        store.chmod(folder_mode)
    opened = open_embedded(store)
    for file in (TDE, NIGHT):
        opened.ingest(file)
    opened.store.compact(full=True)  # type: ignore[union-attr]
    opened.store.close()
    modes = {path.is_dir(): set() for path in (store, store / "manifest.sqlite")}
    for path in (store, *store.rglob("*")):
        modes[path.is_dir()].add(stat.S_IMODE(path.stat().st_mode))
    assert modes == {True: {folder_mode or 0o700}, False: {file_mode}}
