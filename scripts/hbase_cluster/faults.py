"""What goes wrong in a way that one line explains."""

from __future__ import annotations

__all__ = ["ClusterFault"]


class ClusterFault(Exception):
    """A fault whose words are for the user; main prints them and ends with 1."""
