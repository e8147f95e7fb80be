"""Conversion of stored columns to the inputs of the functions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.columns import Column
from flight_server.catalog.missing import missing_as_null
from flight_server.protocol.errors import BadValue, UnknownColumn

__all__ = ["Codes", "Inputs", "Numbers", "declinations", "to_numbers"]

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
POLE = 90.0


class Inputs:
    """The columns of rows, each converted once.

    Parameters
    ----------
    rows
        The rows.
    """

    def __init__(self, rows: pa.RecordBatch | pa.Table) -> None:
        self._rows = rows
        self._held = set(rows.schema.names)
        self._made: dict[str, Numbers | pa.Array] = {}
        self._codes: dict[str, Codes] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def get(self, column: Column, wanted_by: str) -> Numbers | pa.Array:
        """Return a column as text or as numbers, according to the catalog.

        Parameters
        ----------
        column
            The column, with its type.
        wanted_by
            The derived column, for the error.

        Raises
        ------
        UnknownColumn
            The rows do not have the column.
        BadValue
            The rows have the column with another type.
        """
        name = column.name
        if name not in self._made:
            array = self._array(column, wanted_by)
            is_text = _is_text(array.type)
            if is_text != _is_text(column.type) and not pa.types.is_null(array.type):
                message = f"{wanted_by} needs {name} as {column.type}, but the rows have it as {array.type}"
                raise BadValue(message, field=name, value=array.type)
            self._made[name] = array.cast(pa.string()) if _is_text(column.type) else to_numbers(array)
        return self._made[name]

    def codes(self, column: Column, wanted_by: str) -> Codes:
        """Return a number for each distinct value of a column, -1 for null."""
        name = column.name
        if name not in self._codes:
            indices = self._array(column, wanted_by).dictionary_encode().indices
            self._codes[name] = indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        return self._codes[name]

    def _array(self, column: Column, wanted_by: str) -> pa.Array:
        """Return the cells of a column, with null for what is missing."""
        name = column.name
        if name not in self._held:
            raise UnknownColumn(
                f"{wanted_by} cannot be computed: it needs the column {name}, which is missing", field=wanted_by, value=name
            )
        array = self._rows.column(name)
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
        return missing_as_null(array, column.missing)


def to_numbers(array: pa.Array) -> Numbers:
    """Return numbers as float64, NaN for null.

    A float32 becomes the number of its shortest decimal text, as in the public service, which
    reads text: 18.402565 instead of 18.402565002441406.

    >>> to_numbers(pa.array([18.402565, None], pa.float32()))
    array([18.402565,       nan])
    """
    if pa.types.is_float32(array.type):
        array = pc.cast(pc.cast(array, pa.string()), pa.float64())
    elif not pa.types.is_float64(array.type):
        array = pc.cast(array, pa.float64())  # raises on an integer that would be rounded
    if array.null_count:
        array = array.fill_null(np.nan)
    numbers: Numbers = array.to_numpy(zero_copy_only=False)
    return numbers


def declinations(dec: Numbers) -> Numbers:
    """Return declinations, degrees, with NaN for those beyond the poles: one wrong row must not end a whole answer.

    >>> declinations(np.array([-90.0, 90.5]))
    array([-90.,  nan])
    """
    return np.where(np.abs(dec) > POLE, np.nan, dec)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
