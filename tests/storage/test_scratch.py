"""Folders for temporary files: private, gone in the end, and removed by others once their process was killed."""

from __future__ import annotations

import gc
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flight_server.storage.scratch import ScratchFolder, remove_abandoned

HOLDS = """
from flight_server.storage.scratch import ScratchFolder
held = ScratchFolder("upload")
(held.path / "rows").write_bytes(b"rows")
print(held.path, flush=True)
input()
"""


@pytest.fixture(autouse=True)
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_it_is_private_and_removed_with_all_in_it(temporary_files: Path) -> None:
    held = ScratchFolder("upload")
    assert stat.S_IMODE(held.path.stat().st_mode) == 0o700
    assert held.path.parent == temporary_files
    (held.path / "rows").write_bytes(b"rows")
    held.cleanup()
    held.cleanup()
    assert not list(temporary_files.iterdir())


def test_one_that_is_forgotten_is_removed_too(temporary_files: Path) -> None:
    held = ScratchFolder("upload")
    assert held.path.exists()
    del held
    gc.collect()
    assert not list(temporary_files.iterdir())


def test_those_of_killed_processes_are_removed_and_no_others(temporary_files: Path) -> None:
    others = [temporary_files / name for name in ("alertflight-build-1", "other-upload-1", "alertflight-uploads")]
    for folder in others:
        folder.mkdir()
    (temporary_files / "alertflight-upload-file").write_bytes(b"")
    (temporary_files / "alertflight-upload-link").symlink_to(others[0])
    processes = [
        subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, living = processes
    try:
        left, used = (Path(process.stdout.readline().strip()) for process in processes)  # type: ignore[union-attr]
        own = ScratchFolder("upload")
        assert remove_abandoned() == []
        killed.kill()
        killed.wait(60)
        assert remove_abandoned() == [left]
        assert not left.exists()
        assert used.exists()
        assert own.path.exists()
        assert all(folder.exists() for folder in others)
        living.communicate("\n", timeout=60)
        assert not used.exists()
        own.cleanup()
    finally:
        for process in processes:
            process.kill()
            process.communicate()
