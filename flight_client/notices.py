"""Warnings that point to the line of the user's program."""

from __future__ import annotations

import inspect
import warnings

__all__ = ["warn"]


def warn(text: str) -> None:
    """Warn, as from the first caller outside of this package."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith(__package__ or ""):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, UserWarning, stacklevel=level)
