"""Build the gateway's jar with Maven. Standard library only: `setup.py` runs this module before anything is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["BuildFault", "build_jar", "source_files"]

NAME = "alertflight-bridge.jar"
SOURCES = ("pom.xml", "src/main")
MOST_LINES = 20


class BuildFault(Exception):
    """The jar cannot be built.

    Parameters
    ----------
    message
        The reason, in words for the user.
    missing
        Whether Maven or the JDK is not installed.
    """

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


def source_files(project: Path) -> list[Path]:
    """Return the files that the jar is built from, sorted."""
    found = []
    for path in (project / name for name in SOURCES):
        found += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sorted(found)


def build_jar(project: Path, jar: Path) -> None:
    """Build the jar from a copy of the sources; nothing is written into `project`.

    Parameters
    ----------
    project
        The folder of `pom.xml`.
    jar
        The file to make. It appears when it is complete; its folder must exist.

    Raises
    ------
    BuildFault
        Maven or a JDK is missing, or Maven failed.
    """
    maven = shutil.which("mvn")
    if maven is None or not _has_compiler():
        raise BuildFault("Maven or a JDK of version 17 or newer is missing", missing=True)
    with tempfile.TemporaryDirectory(prefix="alertflight-build-") as folder:
        for file in source_files(project):
            target = Path(folder) / file.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        command = [maven, "-q", "-B", "-DskipTests", "package"]
        built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
        if built.returncode:
            output = "\n".join((built.stdout + built.stderr).splitlines()[:MOST_LINES])
            raise BuildFault(f"the HBase gateway could not be built; Maven said:\n{output}")
        draft = jar.with_suffix(f".{os.getpid()}")
        shutil.copyfile(Path(folder) / "target" / NAME, draft)
        draft.replace(jar)


def _has_compiler() -> bool:
    """Return whether Maven will find a Java compiler: that of JAVA_HOME or of PATH."""
    home = os.environ.get("JAVA_HOME")
    return bool(home and (Path(home) / "bin" / "javac").is_file()) or shutil.which("javac") is not None
