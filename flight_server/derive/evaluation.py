"""Evaluation of derived columns over rows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from flight_server.derive.declared import OBJECTS, Derivation, DerivedColumn
from flight_server.derive.inputs import Inputs, Numbers
from flight_server.protocol.errors import BadValue, NotSupported, UnknownColumn

__all__ = ["derive", "find_derived"]


def derive(
    rows: pa.RecordBatch | pa.Table,
    names: Iterable[str],
    declared: Mapping[str, DerivedColumn],
    given: Mapping[str, Any] | None = None,
) -> dict[str, pa.Array]:
    """Compute derived columns.

    Parameters
    ----------
    rows
        Rows with the required columns, in any order. For columns over objects, all rows of an object must be
        included; rows of several objects may be mixed.
    names
        The derived columns to compute.
    declared
        The declarations, from `load_derived`.
    given
        Parameters from the request, such as `centre`, the right ascension and declination of the cone's centre in degrees.

    Returns
    -------
    made
        The columns by name, in the order of `names`; their values are in the order of the rows. Undefined
        values are null.

    Raises
    ------
    UnknownColumn
        The derived column does not exist, or the rows lack a required column.
    NotSupported
        The request does not have a required parameter.
    BadValue
        A stored value is invalid; the message names the derived column and the value.

    Examples
    --------
    >>> from flight_server.derive import load_derived
    >>> rows = pa.table({"i:jd": [2459092.8803819, None], "i:jdstarthist": [2459014.8942824, 2459014.8942824]})
    >>> {name: array.to_pylist() for name, array in derive(rows, ["v:lastdate"], load_derived("ztf")).items()}
    {'v:lastdate': ['2020-08-31 09:07:44.996', None]}
    """
    inputs = Inputs(rows)
    by_derivation: dict[int, dict[str, pa.Array]] = {}
    made: dict[str, pa.Array] = {}
    for name in names:
        derivation = find_derived(name, declared).derivation
        if id(derivation) not in by_derivation:
            by_derivation[id(derivation)] = _apply(derivation, inputs, name, given or {})
        made[name] = by_derivation[id(derivation)][name]
    return made


def find_derived(name: str, declared: Mapping[str, DerivedColumn]) -> DerivedColumn:
    """Return the declaration of a derived column.

    Raises
    ------
    UnknownColumn
        The column does not exist; the message suggests similar names.
    """
    if name not in declared:
        near = difflib.get_close_matches(name, declared, n=3, cutoff=0.5) or list(declared)
        message = f"there is no derived column {name!r:.80}; did you mean {', '.join(near)}?"
        raise UnknownColumn(message, field="columns", value=name)
    return declared[name]


def _apply(derivation: Derivation, inputs: Inputs, name: str, given: Mapping[str, Any]) -> dict[str, pa.Array]:
    taken: dict[str, Any] = {}
    for role, column in derivation.needs.items():
        taken[role] = inputs.codes(column, name) if role == OBJECTS else inputs.get(column, name)
    for role, column in derivation.optional.items():
        taken[role] = inputs.get(column, name) if column.name in inputs else None
    for role in derivation.given:
        if given.get(role) is None:
            raise NotSupported(f"{name} needs the {role} of the request, which has none", field="columns", value=name)
        taken[role] = given[role]
    try:
        # infinite and missing values are regular results, not a reason for warnings
        with np.errstate(all="ignore"):
            found = derivation.load()(**taken)
    except BadValue as error:
        raise BadValue(f"{name} cannot be computed: {error.message}", field=name, value=error.value) from error
    several = found if isinstance(found, tuple) else (found,)
    pairs = zip(derivation.columns, several, strict=True)
    return {column.name: _array(values, column.type) for column, values in pairs}


def _array(values: Numbers | pa.Array, kind: pa.DataType) -> pa.Array:
    # NaN becomes null; an infinite rate (two points at one time) stays infinite
    array = pa.array(values, kind, from_pandas=True) if isinstance(values, np.ndarray) else values
    return array if array.type == kind else array.cast(kind)
