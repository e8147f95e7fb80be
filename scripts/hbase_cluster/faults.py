"""Errors that one line explains."""

from __future__ import annotations

__all__ = ["ClusterFault"]


class ClusterFault(Exception):
    """An error with a message for the user; main prints it and exits with 1."""
