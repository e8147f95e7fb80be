"""The packaged YAML files: settings, tables, columns."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import yaml

__all__ = ["load_folder", "load_resource", "load_yaml"]

# the C parser comes with the wheels and is ten times as fast
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(text: str) -> Any:
    """Load YAML that holds plain values only."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506  (both loaders are the safe ones)


def load_resource(name: str) -> Any:
    """Load one packaged file.

    >>> load_resource("alertflight.yml")["store"]
    'embedded'
    """
    return load_yaml((files("alertflight_config") / name).read_text("utf-8"))


def load_folder(name: str) -> Iterator[Any]:
    """Load every packaged file of a folder, by name."""
    for file in sorted((files("alertflight_config") / name).iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yml"):
            yield load_yaml(file.read_text("utf-8"))
