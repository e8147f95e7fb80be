"""Finds the gateway's jar, or builds it once."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path

from hbase_bridge.faults import BridgeFault

__all__ = ["find_jar"]

log = logging.getLogger(__name__)
NAME = "alertflight-bridge.jar"
UNUSED_SECONDS = 90 * 86_400.0
SOURCES = ("pom.xml", "src/main")


def find_jar(given: Path | None = None) -> Path:
    """Give the jar: the one given, else the one built from the packaged sources, which is made where there is none.

    Raises
    ------
    BridgeFault
        There is none, and it cannot be built; says what is missing.
    """
    if given is not None:
        if not given.is_file():
            raise BridgeFault("bad_value", f"there is no file {given}: gateway.jar must name the gateway's jar")
        return given
    with as_file(files("hbase_bridge") / "java") as project:
        sources = sorted(file for name in SOURCES for file in _all(project / name))
        digest = hashlib.sha256()
        for file in sources:
            digest.update(str(file.relative_to(project)).encode() + b"\0" + file.read_bytes())
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alertflight"
        jar = cache / f"bridge-{digest.hexdigest()[:12]}.jar"
        if not jar.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            with (cache / "bridge.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # two servers that start at once build it once
                if not jar.is_file():
                    _build(project, sources, jar)
                    _drop_old(cache)
        jar.touch()
    return jar


def _drop_old(cache: Path) -> None:
    """Take away jars that no gateway has been started from for long; Java opens its jar again while it runs."""
    for file in cache.glob("bridge-*.jar"):
        if time.time() - file.stat().st_mtime > UNUSED_SECONDS:
            file.unlink(missing_ok=True)


def _all(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _build(project: Path, sources: list[Path], jar: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None or shutil.which("java") is None:
        raise BridgeFault(
            "not_supported",
            "the store hbase needs its gateway's jar, which is built once with Java 17 and Maven: install both "
            "(Debian: apt install openjdk-17-jdk-headless maven), or name a jar in gateway.jar",
        )
    log.warning("building the HBase gateway, once; this takes about a minute")
    with tempfile.TemporaryDirectory(prefix="alertflight-build-") as folder:
        for file in sources:
            target = Path(folder) / file.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        command = [maven, "-q", "-B", "-DskipTests", "package"]
        built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
        if built.returncode:
            said = "\n".join((built.stdout + built.stderr).splitlines()[:20])
            raise BridgeFault("not_supported", f"the HBase gateway could not be built; Maven said:\n{said}")
        draft = jar.with_suffix(f".{os.getpid()}")
        shutil.copyfile(Path(folder) / "target" / NAME, draft)
        draft.replace(jar)
