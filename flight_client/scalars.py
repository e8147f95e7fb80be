"""Scalars of numpy, Arrow and pandas as those of Python."""

from __future__ import annotations

import json
from collections.abc import Iterator, KeysView, Mapping
from typing import Any

from flight_server.protocol.errors import BadValue

__all__ = ["is_missing", "plain_field", "plain_scalar", "plain_value"]


def plain_scalar(value: Any) -> Any:
    """Return a scalar of numpy or Arrow, or an array without dimensions, as Python's own; other values unchanged.

    >>> import numpy as np
    >>> plain_scalar(np.int64(5)), plain_scalar(np.bool_(True)), plain_scalar(np.array("ZTF20abfcszi"))
    (5, True, 'ZTF20abfcszi')
    """
    if hasattr(value, "as_py"):
        return value.as_py()
    if getattr(value, "shape", None) == () and hasattr(value, "item") and not hasattr(value, "unit"):
        if getattr(value, "mask", False):  # numpy.ma.masked and its like
            return None
        return value.item()
    return value


def plain_value(value: Any) -> Any:
    """Return a value with all scalars and arrays within it as JSON types have them; what is neither stays unchanged.

    >>> import numpy as np
    >>> plain_value({"ra": np.float32(1.5), "dec": np.array([1, 2])})
    {'ra': 1.5, 'dec': [1, 2]}
    """
    value = plain_scalar(value)
    if isinstance(value, str | bytes | bool | int | float) or value is None:
        return value
    if isinstance(value, Mapping):
        return {plain_scalar(name): plain_value(part) for name, part in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    for name in ("to_pylist", "to_list", "tolist"):
        if hasattr(value, name):
            value = getattr(value, name)()
            break
    if isinstance(value, list | tuple):
        return [plain_value(part) for part in value]
    return value


def plain_field(name: str, value: Any) -> Any:
    """Return the value of a ticket field as JSON types.

    Raises
    ------
    BadValue
        JSON has no such value.
    """
    plain = plain_value(list(value) if isinstance(value, Iterator | KeysView) else value)
    try:
        json.dumps(plain)
    except (TypeError, ValueError):
        raise BadValue(f"{name} cannot be {value!r:.60}, of type {type(value).__name__}", field=name, value=value) from None
    return plain


def is_missing(value: Any) -> bool:
    """Return whether a scalar stands for no value: None, NaN, NaT, pandas.NA, a masked one.

    >>> is_missing(float("nan")), is_missing(None), is_missing(0), is_missing("")
    (True, True, False, False)
    """
    if value is None or type(value).__name__ in {"NAType", "NaTType", "MaskedConstant"}:
        return True
    if isinstance(value, str | bytes | bool | int):
        return False
    differs = value != value  # noqa: PLR0124  (NaN and NaT differ from themselves)
    return type(differs).__name__ in {"bool", "bool_"} and bool(differs)  # not an array of answers
