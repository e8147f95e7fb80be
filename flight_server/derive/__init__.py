"""Derived columns: values that are worked out from stored ones when somebody asks for them.

config/derived declares them; each is made by a pure function of this package. To add one, write the function and
its entry there.
"""

from __future__ import annotations

from flight_server.derive.declared import Derivation, DerivedColumn, load_derived
from flight_server.derive.evaluation import derive

__all__ = ["Derivation", "DerivedColumn", "derive", "load_derived"]
