"""The server that the client connects to: URLs and profiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from flight_client.profiles import DEFAULT_URL, Profile, find_profile
from flight_server.protocol.errors import BadValue

FILE = """
default: home
profiles:
  home: {url: "grpc://127.0.0.1:9000", threads: 2}
  work: {url: "grpc://archive:8815", read_ahead: 1000000}
"""


def written(folder: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    file = folder / "alertflight" / "client.yml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return {"XDG_CONFIG_HOME": str(folder)}


def test_the_most_particular_wins(tmp_path: Path) -> None:
    nothing = {"XDG_CONFIG_HOME": str(tmp_path / "none")}
    assert find_profile(None, None, nothing) == Profile(DEFAULT_URL)
    given = written(tmp_path, FILE)
    home = Profile("grpc://127.0.0.1:9000", threads=2)
    work = Profile("grpc://archive:8815", read_ahead=1_000_000)
    assert find_profile(None, None, given) == home
    assert find_profile(None, None, given | {"ALERTFLIGHT_PROFILE": "work"}) == work
    assert find_profile(None, None, given | {"ALERTFLIGHT_PROFILE": "work", "ALERTFLIGHT_URL": "grpc://x:1"}) == Profile(
        "grpc://x:1"
    )
    assert find_profile(None, "work", given | {"ALERTFLIGHT_URL": "grpc://x:1"}) == work
    assert find_profile("grpc://y:1", None, given) == Profile("grpc://y:1")
    assert find_profile("grpc://y:1", "home", given) == Profile("grpc://y:1", threads=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profiles: {home: {}}\ndefault: away", "has no profile 'away'; it has home"),
        ("profiles: {home: {uri: x}}\ndefault: home", "has the unknown key 'uri'; known keys are url"),
        ("profiles: {home: {threads: two}}\ndefault: home", "threads of the profile home"),
        ("profiles: {home: {threads: 0}}\ndefault: home", "must be a positive integer, not 0"),
        ("profiles: {home: {threads: true}}\ndefault: home", "must be a positive integer, not True"),
        ("profiles: [home]\ndefault: home", "profiles in .* must be a mapping"),
        ("- a", "must be a mapping"),
        ("profile: home", "has the unknown key 'profile'; known keys are default and profiles"),
        ("profiles: {home: {url: [", "cannot be read"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadValue, match=said):
        find_profile(None, None, written(tmp_path, text))


def test_a_file_with_a_secret_is_private(tmp_path: Path) -> None:
    secret = "profiles: {home: {url: 'grpc://x:1', token: abc}}\ndefault: home"
    with pytest.raises(BadValue, match="holds a secret but others can read it") as caught:
        find_profile(None, None, written(tmp_path, secret, 0o644))
    assert "abc" not in str(caught.value)
    assert find_profile(None, None, written(tmp_path, secret, 0o600)) == Profile("grpc://x:1")
    assert find_profile(None, None, written(tmp_path, FILE, 0o644)).threads == 2
