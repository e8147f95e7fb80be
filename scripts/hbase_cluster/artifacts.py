"""Java, Maven and the jars, which are cached per pom.xml."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from hbase_cluster.faults import ClusterFault

__all__ = ["HERE", "find_jars", "find_java", "move"]

HERE = Path(__file__).resolve().parent
OLDEST_JAVA = 17
OLDEST_MAVEN = (3, 6, 3)  # required by the dependency plugin in pom.xml


def find_java() -> str:
    """Find the java command of a JDK, since Ready.java is compiled when it is run."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    advice = f"install a JDK of version {OLDEST_JAVA} or newer (Debian: apt install openjdk-17-jdk-headless)"
    if java is None:
        raise ClusterFault(f"java was not found in {f'JAVA_HOME={home}' if home else 'PATH'}: {advice}")
    modules = _output(java, "--list-modules")  # Java 8 does not have this option
    version = re.search(r"^java\.base@(\d+)", modules, re.MULTILINE)
    if version is None or int(version[1]) < OLDEST_JAVA:
        found = f"is version {version[1]}" if version else "is too old or does not work"
        raise ClusterFault(f"{java} {found}: {advice}")
    if "jdk.compiler@" not in modules:
        raise ClusterFault(f"{java} has no compiler, it is only a JRE: {advice}")
    return java


def find_jars(name: str = "cluster", pom: Path = HERE / "pom.xml") -> Path:
    """Return the folder with the jars of a pom.xml, which are downloaded the first time.

    Parameters
    ----------
    name
        Their name in the cache.
    pom
        The pom.xml.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "alertflight" / f"{name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    lib = home / "lib"
    if not lib.is_dir():
        maven = _find_maven()
        print(f"fetching the jars of {name} with Maven (once) ...", flush=True)
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix="fetching-") as fetched:
            _fetch(maven, pom, Path(fetched) / "lib")
            move(Path(fetched) / "lib", lib)
    return lib


def _fetch(maven: str, pom: Path, folder: Path) -> None:
    command = [maven, "--batch-mode", "--quiet", "-Dstyle.color=never", "--file", str(pom), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S603  (our own command)
    if done.returncode != 0 or not folder.is_dir():
        said = (done.stdout + done.stderr).strip().splitlines()
        raise ClusterFault("Maven could not fetch the jars; it said:\n" + "\n".join(said[:8]))


def move(made: Path, place: Path) -> None:
    """Rename a folder into place when it is complete; another process may have done the same before."""
    try:
        made.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def _find_maven() -> str:
    maven = shutil.which("mvn")
    oldest = ".".join(map(str, OLDEST_MAVEN))
    advice = f"install Maven {oldest} or newer (Debian: apt install maven)"
    if maven is None:
        raise ClusterFault(f"mvn was not found in PATH, and the jars are not here yet: {advice}")
    version = re.search(r"Apache Maven (\d+)\.(\d+)\.(\d+)", _output(maven, "--version"))
    if version is None:
        raise ClusterFault(f"{maven} does not work: {advice}")
    if tuple(map(int, version.groups())) < OLDEST_MAVEN:
        raise ClusterFault(f"{maven} is version {'.'.join(version.groups())}: {advice}")
    return maven


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S603  (our own command)
    except OSError:
        return ""
    return done.stdout
