"""How options of the client's commands are read."""

from __future__ import annotations

import re

import click

__all__ = ["moment_option", "split_option"]

COMPACT_DATE = re.compile(r"\d{8}")  # 20200815, which is no Julian date


def split_option(_context: click.Context, _option: click.Parameter, value: tuple[str, ...]) -> list[str]:
    """Read names between commas, of an option that may be given several times."""
    return [part.strip() for text in value for part in text.split(",") if part.strip()]


def moment_option(_context: click.Context, _option: click.Parameter, value: str | None) -> float | str | None:
    """Read a moment: what is a number is a JD or an MJD."""
    if value is None or COMPACT_DATE.fullmatch(value):
        return value
    try:
        return float(value)
    except ValueError:
        return value
