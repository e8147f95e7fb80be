"""The gateway's jar: where it comes from, and the error if it is missing."""

import os
import shutil
import zipfile

import pytest

from hbase_bridge import BridgeFault
from hbase_bridge.jar import find_jar


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "alertflight"


def commands(tmp_path, monkeypatch, **found):
    """Set a PATH with only these commands."""
    (tmp_path / "bin").mkdir()
    for name, target in found.items():
        (tmp_path / "bin" / name).symlink_to(target)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)


def test_a_jar_that_is_given_is_taken(tmp_path, cache):
    jar = tmp_path / "my.jar"
    jar.write_bytes(b"jar")
    assert find_jar(jar) == jar
    assert not cache.exists()


def test_a_jar_that_is_given_but_not_there_is_named(tmp_path):
    for absent in (tmp_path / "absent.jar", tmp_path):
        with pytest.raises(BridgeFault, match=r"there is no file .*gateway\.jar must name") as caught:
            find_jar(absent)
        assert str(absent) in caught.value.message
        assert caught.value.code == "bad_value"


@pytest.mark.parametrize("found", [[], ["mvn"], ["javac"], ["java", "mvn"]])
def test_without_maven_or_a_jdk_it_is_said_how_to_get_them(tmp_path, monkeypatch, cache, found):
    commands(tmp_path, monkeypatch, **dict.fromkeys(found, shutil.which("false")))
    with pytest.raises(BridgeFault) as caught:
        find_jar()
    assert caught.value.code == "not_supported"
    for word in ("from a wheel", "JDK of version 17", "Maven", "apt install", "gateway.jar"):
        assert word in caught.value.message
    assert [file.name for file in cache.iterdir()] == ["bridge.lock"]


def test_a_build_that_fails_is_told_and_leaves_no_jar(tmp_path, monkeypatch, cache):
    false = shutil.which("false")
    commands(tmp_path, monkeypatch, mvn=false, javac=false)
    with pytest.raises(BridgeFault, match="the HBase gateway could not be built; Maven said"):
        find_jar()
    assert [file.name for file in cache.iterdir()] == ["bridge.lock"]


@pytest.mark.java
@pytest.mark.timeout(1800)
def test_a_jar_is_built_once_and_drops_those_long_unused(cache):
    cache.mkdir(parents=True)
    old, fresh = cache / "bridge-0123456789ab.jar", cache / "bridge-ba9876543210.jar"
    for jar in (old, fresh):
        jar.write_bytes(b"jar")
    os.utime(old, (0, 0))
    built = find_jar()
    assert set(cache.glob("bridge-*.jar")) == {built, fresh}
    first = built.stat().st_ino
    assert (find_jar(), built.stat().st_ino) == (built, first)


@pytest.mark.java
@pytest.mark.timeout(1800)
def test_a_jar_that_was_built_is_found_without_maven(tmp_path, monkeypatch):
    built = find_jar()
    commands(tmp_path, monkeypatch)
    assert find_jar() == built
    with zipfile.ZipFile(built) as jar:
        assert "alertflight/bridge/Main.class" in jar.namelist()
