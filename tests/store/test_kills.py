"""A process that is killed leaves the old state or the new one, whatever it was doing."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from store_faults import (
    COMPACTING,
    INGESTING,
    INGESTING_INTO_HBASE,
    SPILLING,
    Scene,
    contents,
    damage,
    do_again,
    files,
    make_scenes,
    run,
    until_unharmed,
    words,
)

from flight_server.injection import POINTS

RANDOM_KILLS = 25
MANY_RANDOM_KILLS = 150


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    return make_scenes(tmp_path_factory.mktemp("scenes"))


def check_after_kill(scene: Scene, folder: Path, again_in_process: bool = False) -> None:
    assert contents(folder) in (scene.before, scene.after), "neither the old state nor the new one"
    assert damage(folder) == []
    if again_in_process:
        do_again(scene, folder)
    else:
        done = run(scene.command, folder, **SPILLING)
        assert done.returncode == 0, done.stderr
    assert contents(folder) == scene.after
    assert damage(folder) == []


def kills_at(point: str, scene: Scene, folder: Path) -> int:
    def attempt(turn: int) -> bool:
        data = scene.copy(folder / str(turn))
        done = run(scene.command, data, f"{point}:kill:{turn}", **SPILLING)
        if done.returncode == 0:
            assert contents(data) == scene.after
            return False
        assert done.returncode == -signal.SIGKILL, done.stderr
        check_after_kill(scene, data, again_in_process=turn > 1)
        shutil.rmtree(data)
        return True

    return until_unharmed(attempt)


def test_every_point_is_in_a_loop() -> None:
    assert set(POINTS) == {*INGESTING, *COMPACTING, *INGESTING_INTO_HBASE}


@pytest.mark.parametrize("point", INGESTING)
def test_an_ingest_killed_at_a_point(point: str, scenes: dict[str, Scene], tmp_path: Path) -> None:
    assert kills_at(point, scenes["again"], tmp_path) > 0, "the point was never passed"


@pytest.mark.parametrize("point", COMPACTING)
def test_a_compaction_killed_at_a_point(point: str, scenes: dict[str, Scene], tmp_path: Path) -> None:
    assert kills_at(point, scenes["compact"], tmp_path) > 0, "the point was never passed"


def test_two_kills_in_a_row(scenes: dict[str, Scene], tmp_path: Path) -> None:
    scene = scenes["again"]
    data = scene.copy(tmp_path / "data")
    for point in ("segment.keys", "commit.inside", "block.drafted"):
        assert run(scene.command, data, f"{point}:kill:1", **SPILLING).returncode == -signal.SIGKILL
        assert contents(data) == scene.before
    check_after_kill(scene, data)


def test_what_a_killed_ingest_left_is_taken_away(scenes: dict[str, Scene], tmp_path: Path) -> None:
    scene = scenes["again"]
    killed, unharmed = scene.copy(tmp_path / "killed"), scene.copy(tmp_path / "unharmed")
    for point in ("run.spilled", "block.drafted", "segment.data", "commit.before"):
        assert run(scene.command, killed, f"{point}:kill:1", **SPILLING).returncode == -signal.SIGKILL
    for folder in (killed, unharmed):
        assert run(scene.command, folder, **SPILLING).returncode == 0
    assert files(killed) == files(unharmed)


def kill_at_random(scene: Scene, folder: Path, chance: random.Random, longest: float, again_in_process: bool = True) -> float:
    """Kill a command some time after it began; gives how long it ran."""
    data = scene.copy(folder)
    process = subprocess.Popen(
        words(scene.command, data, **SPILLING), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "begun\n"
        began = time.monotonic()
        process.wait(chance.uniform(0, longest))
    except subprocess.TimeoutExpired:
        pass  # it is killed in its midst
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    lasted = time.monotonic() - began
    check_after_kill(scene, data, again_in_process)
    shutil.rmtree(data)
    return lasted


def kill_many_at_random(scenes: dict[str, Scene], folder: Path, count: int, seed: int) -> None:
    chance = random.Random(seed)
    longest = {name: kill_at_random(scene, folder / "measured", chance, 1000) for name, scene in scenes.items()}
    for number in range(count):
        name = chance.choice(list(scenes))
        kill_at_random(scenes[name], folder / "data", chance, longest[name], again_in_process=number % 3 > 0)


def test_kills_at_random_moments(scenes: dict[str, Scene], tmp_path: Path) -> None:
    kill_many_at_random(scenes, tmp_path, RANDOM_KILLS, seed=20260731)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_kills_at_random_moments(scenes: dict[str, Scene], tmp_path: Path) -> None:
    kill_many_at_random(scenes, tmp_path, MANY_RANDOM_KILLS, seed=7)
