"""What answers and exchanges have in common: conversion to tables of other libraries, and the protocols by which these ask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pyarrow as pa

from flight_client import frames
from flight_server.protocol.errors import NotSupported

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from astropy.table import QTable, Table

__all__ = ["Tabular"]


class Tabular(ABC):
    """Rows that are read batch by batch.

    Polars, Arrow, DuckDB and others read them by the Arrow PyCapsule protocol (`__arrow_c_stream__`), as batches, or by the
    dataframe interchange protocol (`__dataframe__`), as a whole. An error ends both with an error, never with fewer rows.
    """

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows, with units and descriptions in the metadata of the fields."""

    @abstractmethod
    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Read the rows, batch by batch."""

    def reader(self) -> pa.RecordBatchReader:
        """Return a RecordBatchReader of the rows, for DuckDB, Polars, Parquet writers and others."""
        return pa.RecordBatchReader.from_batches(self.schema, iter(self))

    def to_arrow(self) -> pa.Table:
        """Read all rows into an Arrow table."""
        batches = list(self)
        return pa.Table.from_batches(batches, schema=self.schema)

    def to_pandas(self, types: str = "numpy") -> pd.DataFrame:
        """Read all rows into a pandas DataFrame.

        Parameters
        ----------
        types
            The types of the columns. `numpy`: numbers that numpy, matplotlib and `describe` use, null as NaN; 64-bit integers
            with nulls are pandas' `Int64`, so that all digits are kept. `arrow`: those of Arrow, which tell null from NaN.
        """
        return frames.to_pandas(self.to_arrow(), types)

    def to_polars(self) -> pl.DataFrame:
        """Read all rows into a Polars DataFrame; needs the extra `polars`."""
        return frames.to_polars(self.to_arrow())

    def to_astropy(self, *, plain: bool = False) -> QTable | Table:
        """Read all rows into a table of astropy: columns with units, UCDs and descriptions, nulls masked.

        Parameters
        ----------
        plain
            False: a QTable with Quantities, and times as Time in their scale. True: a Table that can be written to any file,
            such as VOTable: times are numbers in days, null texts are empty, and names have `_` in place of `:`.
        """
        return frames.to_astropy(self.to_arrow(), plain=plain)

    def to_votable(self, path: str | Path) -> None:
        """Read all rows, and write them to a VOTable (`.vot`, `.xml`), or a Parquet file with its header (`.parquet`).

        Raises
        ------
        BadValue
            The file cannot be written, or its ending is none of these.
        NotSupported
            A column is nested or binary.
        """
        from flight_client.votables import write_votable

        write_votable(Path(path), self.schema, self)

    def __arrow_c_schema__(self) -> object:
        """Return the schema for other libraries; see the Arrow PyCapsule protocol."""
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows for other libraries; see the Arrow PyCapsule protocol. They are read when these ask for them."""
        return self.reader().__arrow_c_stream__(requested_schema)

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> object:
        """Read all rows for the dataframe interchange protocol."""
        return self.to_arrow().__dataframe__(nan_as_null, allow_copy)

    def __array__(self, dtype: object = None, copy: object = None) -> NoReturn:
        """Refuse: an array has neither names nor a type for each column."""
        raise NotSupported(
            "a numpy array has one type for all columns, and no names: use to_pandas(), to_arrow() or, from pandas 3 on, "
            "pandas.DataFrame.from_arrow(...); pandas.DataFrame(...) cannot read these rows",
            field="array",
        )
