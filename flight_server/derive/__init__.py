"""Derived columns: values that are computed from stored ones at query time.

config/derived declares them; a pure function of this package computes each. To add one, write the function and its entry
there.
"""

from __future__ import annotations

from flight_server.derive.declared import Derivation, DerivedColumn, load_derived
from flight_server.derive.evaluation import derive

__all__ = ["Derivation", "DerivedColumn", "derive", "load_derived"]
