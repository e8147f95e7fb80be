"""Find the gateway's jar: the one given, the packaged one, or one built from the sources."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import time
from pathlib import Path

from hbase_bridge.faults import BridgeFault
from hbase_bridge.maven import BuildFault, build_jar, source_files

__all__ = ["find_jar"]

log = logging.getLogger(__name__)
PACKAGED = Path(__file__).with_name("gateway.jar")  # `setup.py` puts it into wheels
PROJECT = Path(__file__).with_name("java")
UNUSED_SECONDS = 90 * 86_400.0
ADVICE = (
    "this installation has no gateway jar, which the store hbase needs: install Alertflight from a wheel that contains it, "
    "or install Maven and a JDK of version 17 or newer (Debian: apt install openjdk-17-jdk-headless maven), with which the "
    "jar is built once, or name a jar in gateway.jar"
)


def find_jar(given: Path | None = None) -> Path:
    """Return the path of the jar.

    That is the one given, else the one in the package, which wheels contain. A checkout has none: there the jar is built
    once from the sources and kept in the cache.

    Raises
    ------
    BridgeFault
        There is no jar, and it cannot be built; the message says what is missing.
    """
    if given is not None:
        if not given.is_file():
            raise BridgeFault("bad_value", f"there is no file {given}: gateway.jar must name the gateway's jar")
        return given
    return PACKAGED if PACKAGED.is_file() else _find_built()


def _find_built() -> Path:
    """Return the jar of these sources in the cache; build it where it is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alertflight"
    jar = cache / f"bridge-{_digest()}.jar"
    if not jar.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "bridge.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two servers that start at once build it once
            if not jar.is_file():
                _build(jar)
                _remove_unused(cache)
    jar.touch()
    return jar


def _digest() -> str:
    """Return a digest of the sources, which names their jar."""
    digest = hashlib.sha256()
    for file in source_files(PROJECT):
        digest.update(str(file.relative_to(PROJECT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _build(jar: Path) -> None:
    log.warning("building the HBase gateway, once; this takes about a minute")
    try:
        build_jar(PROJECT, jar)
    except BuildFault as fault:
        raise BridgeFault("not_supported", ADVICE if fault.missing else str(fault)) from fault


def _remove_unused(cache: Path) -> None:
    """Delete jars that no gateway has been started from for long; a running Java process opens its jar again and again."""
    for file in cache.glob("bridge-*.jar"):
        if time.time() - file.stat().st_mtime > UNUSED_SECONDS:
            file.unlink(missing_ok=True)
