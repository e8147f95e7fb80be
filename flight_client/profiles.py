"""The choice of a server: by URL, by a profile in the configuration file of the user, or by the environment."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flight_server.protocol.errors import BadValue

__all__ = ["Profile", "find_profile"]

DEFAULT_URL = "grpc://127.0.0.1:8815"
WORDS = ("url", "threads", "read_ahead", "token")
SECRETS = ("token", "password", "secret")


@dataclass(frozen=True, slots=True)
class Profile:
    """A server and how to read from it: threads, and bytes of read-ahead; None: the default of the library."""

    url: str = DEFAULT_URL
    threads: int | None = None
    read_ahead: int | None = None


def find_profile(url: str | None, name: str | None, environment: Mapping[str, str] = os.environ) -> Profile:
    """Return the server that a URL, a profile or the environment names.

    Parameters
    ----------
    url
        Takes precedence over everything else.
    name
        A profile in `alertflight/client.yml` in the configuration folder of the user. By default the variable
        ALERTFLIGHT_URL, the profile ALERTFLIGHT_PROFILE, the `default` of the file, or grpc://127.0.0.1:8815.
    environment
        The environment variables.

    Raises
    ------
    BadValue
        The profile does not exist, or the file is invalid; the message names what is wrong.
    """
    if url is not None and name is None:
        return Profile(url)
    if name is None and environment.get("ALERTFLIGHT_URL"):
        return Profile(environment["ALERTFLIGHT_URL"])
    file = _file(environment)
    held = _read(file) if file.is_file() else {}
    profiles = _mapping(held.get("profiles", {}), f"profiles in {file}")
    chosen = name or environment.get("ALERTFLIGHT_PROFILE") or held.get("default")
    if chosen is None:
        return Profile()
    if chosen not in profiles:
        known = ", ".join(profiles) or "none"
        raise BadValue(f"{file} has no profile {chosen!r:.60}; it has {known}", field="profile", value=chosen)
    return _profile(_mapping(profiles[chosen], f"the profile {chosen} in {file}"), f"the profile {chosen} in {file}", url)


def _file(environment: Mapping[str, str]) -> Path:
    home = environment.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "alertflight" / "client.yml"


def _read(file: Path) -> Mapping[str, Any]:
    import yaml

    try:
        with file.open(encoding="utf-8") as opened:
            loaded = yaml.safe_load(opened) or {}
            mode = os.fstat(opened.fileno()).st_mode
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise BadValue(f"{file} cannot be read: {error}", field="profile", value=file) from error
    held = _mapping(loaded, str(file))
    for word in held:
        if word not in {"default", "profiles"}:
            raise BadValue(
                f"{file} has the unknown key {word!r:.60}; known keys are default and profiles", field="profile", value=word
            )
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and _secret(held):
        raise BadValue(f"{file} holds a secret but others can read it: run chmod 600 on it", field="profile", value=file)
    return held


def _secret(held: object) -> bool:
    if not isinstance(held, Mapping):
        return False
    return any(any(secret in str(word).lower() for secret in SECRETS) or _secret(value) for word, value in held.items())


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadValue(f"{what} must be a mapping, not {value!r:.60}", field="profile", value=value)
    return value


def _profile(words: Mapping[str, Any], what: str, url: str | None) -> Profile:
    for word, value in words.items():
        if word not in WORDS:
            raise BadValue(
                f"{what} has the unknown key {word!r:.60}; known keys are {', '.join(WORDS)}", field="profile", value=word
            )
        number = word in {"threads", "read_ahead"}
        if not ((type(value) is int and value > 0) if number else isinstance(value, str)):
            message = f"{word} of {what} must be {'a positive integer' if number else 'a string'}, not {value!r:.60}"
            raise BadValue(message, field=word, value=value)
    return Profile(url or words.get("url", DEFAULT_URL), words.get("threads"), words.get("read_ahead"))
