"""The sources of settings, in increasing precedence: packaged defaults, file, environment, command line flags."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

import msgspec
import yaml

from flight_server.protocol.errors import BadValue
from flight_server.protocol.validation import explain
from flight_server.settings.resources import load_resource, load_yaml
from flight_server.settings.values import Settings

__all__ = ["load_settings"]

ENVIRONMENT_PREFIX = "ALERTFLIGHT_"
OTHER_VARIABLES = (
    "ALERTFLIGHT_URL",
    "ALERTFLIGHT_PROFILE",
    "ALERTFLIGHT_INJECT",
)  # used by the client and the tests, not settings
FREE = ("properties", "rewrite", "tables")  # mappings with any keys
SCHEMES = ("grpc", "grpc+tcp", "grpc+tls")
REUSE = "arrow-flight-reuse-connection://?"  # Flight's URI for the server that the client is already connected to


def load_settings(
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    data: str | None = None,
    host: str | None = None,
    port: int | None = None,
) -> Settings:
    """Load the settings.

    Parameters
    ----------
    file
        A YAML file with any of the settings; overrides the defaults.
    environment
        Variables such as `ALERTFLIGHT_SERVER__PORT`; they override the file.
    data, host, port
        Command line flags; they override everything else.

    Raises
    ------
    BadValue
        A setting is unknown or has an invalid value; names it.
    """
    merged: dict[str, Any] = load_resource("alertflight.yml")
    if file is not None:
        _overlay(merged, _read(file), str(file))
    _overlay(merged, _from_environment(environment), "the environment")
    merged["data"] = data or merged["data"]
    merged["server"] |= {name: flag for name, flag in (("host", host or None), ("port", port)) if flag is not None}
    try:
        settings = msgspec.convert(merged, Settings)
    except msgspec.ValidationError as error:
        fault = explain(error, Settings, merged, "")
        message = f"the setting {fault.name} must be {fault.wanted}, not {fault.value!r:.60}"
        raise BadValue(message, field=fault.name, value=fault.value) from None
    for location in settings.server.locations:
        _check_location(location)
    if settings.tickets.signed_only and settings.tickets.signing_key_file is None:
        message = "tickets.signed_only needs tickets.signing_key_file: without a key no ticket can be signed"
        raise BadValue(message, field="tickets.signed_only", value=True)
    return settings


def _check_location(location: str) -> None:
    try:
        parts = urlsplit(location)
        whole = parts.scheme in SCHEMES and parts.hostname and parts.port and location == f"{parts.scheme}://{parts.netloc}"
    except ValueError:  # the port is not a number, or a bracket of an address is not closed
        whole = False
    if not whole and location != REUSE:
        message = (
            f"server.locations has {location!r:.80}; a location is SCHEME://HOST:PORT, with the scheme {' or '.join(SCHEMES)}"
        )
        raise BadValue(message, field="server.locations", value=location)


def _read(file: Path) -> dict[str, Any]:
    try:
        loaded = load_yaml(file.read_text("utf-8")) or {}
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise BadValue(f"the settings in {file} cannot be read: {error}", field="config", value=file) from error
    if not isinstance(loaded, dict):
        raise BadValue(f"{file} is not a YAML mapping of settings", field="config", value=file)
    return loaded


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # whole sections first, then single settings
    for name, text in sorted(environment.items(), key=lambda item: "__" in item[0]):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in OTHER_VARIABLES:
            continue
        section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        try:
            value = text if (key or section) in _TEXTS and text != "null" else load_yaml(text)
        except yaml.YAMLError as error:
            raise BadValue(f"the variable {name} cannot be read: {text!r:.60}", field=name, value=text) from error
        held = found.get(section, {})
        if key and not isinstance(held, dict):
            raise BadValue(f"the environment sets {section} both as a whole and in part", field=name, value=text)
        found[section] = {**held, key: value} if key else value
    return found


def _overlay(base: dict[str, Any], over: Mapping[str, Any], source: str) -> None:
    for key, value in over.items():
        if key not in base:
            raise BadValue(f"{source} sets {key!r}, which is not a setting; known are {', '.join(base)}", field=str(key))
        if isinstance(base[key], dict) and key not in FREE:
            if not isinstance(value, dict):
                raise BadValue(f"{source} must set {key} to a mapping", field=str(key), value=value)
            _overlay(base[key], value, source)
        else:
            base[key] = value


def _text_names(kind: type) -> set[str]:
    """Return the names of the string settings, whose values are not parsed as YAML."""
    hints = get_type_hints(kind)
    inner = (_text_names(hint) for hint in hints.values() if is_dataclass(hint) and isinstance(hint, type))
    return {name for name, hint in hints.items() if hint in (str, str | None)}.union(*inner)


_TEXTS = _text_names(Settings)
