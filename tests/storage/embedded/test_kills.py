"""A killed process leaves the old state or the new one, at every point."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest
from store_faults import (
    COMPACTING,
    INGESTING,
    INGESTING_INTO_HBASE,
    SPILLING,
    Runner,
    Scene,
    checked_contents,
    contents,
    do_again,
    files,
    run_afresh,
    until_unharmed,
)
from waiting import is_running
from warm_commands import WarmCommands

from flight_server.storage.injection import POINTS

RANDOM_KILLS = 15
MANY_RANDOM_KILLS = 200


def check_after_kill(scene: Scene, folder: Path, run: Runner | None = None) -> None:
    """Check the store after a kill, and that the command can be run again: in a process, or else in this one."""
    assert checked_contents(folder) in (scene.before, scene.after), "neither the old state nor the new one"
    if run is None:
        do_again(scene, folder)
    else:
        done = run(scene.command, folder, **SPILLING)
        assert done.returncode == 0, done.stderr
    assert checked_contents(folder) == scene.after


def kills_at(point: str, scene: Scene, folder: Path, run: Runner) -> int:
    """Kill a command at each passing of a point; read the whole store after the first kill and after the retry."""

    def attempt(turn: int) -> bool:
        data = scene.copy(folder / str(turn))
        done = run(scene.command, data, f"{point}:kill:{turn}", **SPILLING)
        if done.returncode == 0:
            assert checked_contents(data) == scene.after
            return False
        assert done.returncode == -signal.SIGKILL, done.stderr
        if turn == 1:
            assert contents(data) in (scene.before, scene.after)
        check_after_kill(scene, data, run if turn == 1 else None)
        if turn == 1:
            assert contents(data) == scene.after
        shutil.rmtree(data)
        return True

    return until_unharmed(attempt)


def test_every_point_is_in_a_loop() -> None:
    assert set(POINTS) == {*INGESTING, *COMPACTING, *INGESTING_INTO_HBASE}


@pytest.mark.deep(after=3)
@pytest.mark.parametrize("point", INGESTING)
def test_an_ingest_killed_at_a_point(point: str, scenes: dict[str, Scene], run: Runner, tmp_path: Path) -> None:
    assert kills_at(point, scenes["again"], tmp_path, run) > 0, "the point was never passed"


@pytest.mark.deep(after=2)
@pytest.mark.parametrize("point", COMPACTING)
def test_a_compaction_killed_at_a_point(point: str, scenes: dict[str, Scene], run: Runner, tmp_path: Path) -> None:
    assert kills_at(point, scenes["compact"], tmp_path, run) > 0, "the point was never passed"


def test_two_kills_in_a_row(scenes: dict[str, Scene], run: Runner, tmp_path: Path) -> None:
    scene = scenes["again"]
    data = scene.copy(tmp_path / "data")
    for point in ("segment.keys", "commit.inside", "block.drafted"):
        assert run(scene.command, data, f"{point}:kill:1", **SPILLING).returncode == -signal.SIGKILL
        assert checked_contents(data) == scene.before
    check_after_kill(scene, data, run)


def test_the_warm_process_ends_when_a_test_fails() -> None:
    with pytest.raises(ZeroDivisionError), WarmCommands() as warm:
        assert is_running(warm.pid)
        raise ZeroDivisionError
    assert not is_running(warm.pid)


@pytest.mark.deep
def test_a_fresh_process_is_killed_and_run_again(scenes: dict[str, Scene], tmp_path: Path) -> None:
    scene = scenes["again"]
    data = scene.copy(tmp_path / "data")
    assert run_afresh(scene.command, data, "commit.inside:kill:1", **SPILLING).returncode == -signal.SIGKILL
    assert checked_contents(data) == scene.before
    done = run_afresh(scene.command, data, **SPILLING)
    assert done.returncode == 0, done.stderr
    assert contents(data) == checked_contents(data) == scene.after


def test_what_a_killed_ingest_left_is_taken_away(scenes: dict[str, Scene], run: Runner, tmp_path: Path) -> None:
    scene = scenes["again"]
    killed, unharmed = scene.copy(tmp_path / "killed"), scene.copy(tmp_path / "unharmed")
    for point in ("run.spilled", "block.drafted", "segment.data", "commit.before"):
        assert run(scene.command, killed, f"{point}:kill:1", **SPILLING).returncode == -signal.SIGKILL
    for folder in (killed, unharmed):
        assert run(scene.command, folder, **SPILLING).returncode == 0
    assert files(killed) == files(unharmed)


def kill_at_random(scene: Scene, folder: Path, run: Runner, after: float, *, again_in_process: bool = True) -> float:
    """Kill a command after a delay; return the seconds that it ran."""
    data = scene.copy(folder)
    done = run(scene.command, data, kill_after=after, **SPILLING)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    check_after_kill(scene, data, None if again_in_process else run)
    shutil.rmtree(data)
    return done.lasted


def kill_many_at_random(scenes: dict[str, Scene], run: Runner, folder: Path, count: int, seed: int) -> None:
    chance = random.Random(seed)
    longest = {name: kill_at_random(scene, folder / "measured", run, after=1000) for name, scene in scenes.items()}
    for number in range(count):
        name = chance.choice(list(scenes))
        after = chance.uniform(0, longest[name])
        kill_at_random(scenes[name], folder / "data", run, after, again_in_process=number % 3 > 0)


@pytest.mark.deep
def test_kills_at_random_moments(scenes: dict[str, Scene], run: Runner, tmp_path: Path) -> None:
    kill_many_at_random(scenes, run, tmp_path, RANDOM_KILLS, seed=20260731)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_kills_at_random_moments(scenes: dict[str, Scene], run: Runner, tmp_path: Path) -> None:
    kill_many_at_random(scenes, run, tmp_path, MANY_RANDOM_KILLS, seed=7)
