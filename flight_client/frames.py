"""Arrow tables as pandas, Polars, nested-pandas and astropy tables. Each library is loaded when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.protocol.errors import BadValue, NotSupported

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from astropy.table import QTable, Table
    from nested_pandas import NestedFrame

__all__ = ["check_holds", "to_astropy", "to_nested", "to_pandas", "to_polars"]

TYPES = ("numpy", "arrow")
FIELD_META = ("ucd", "origin", "time_scale", "time_reference")


def to_pandas(table: pa.Table, types: str = "numpy") -> pd.DataFrame:
    """Return a DataFrame.

    Parameters
    ----------
    table
        The rows.
    types
        `numpy`: numbers that numpy, matplotlib and `describe` use; `arrow`: the types of Arrow. See `Tabular.to_pandas`.

    Raises
    ------
    BadValue
        `types` is neither.
    """
    import pandas as pd

    if types not in TYPES:
        raise BadValue(f"types must be {' or '.join(TYPES)}, not {types!r:.40}", field="types", value=types)
    frame: pd.DataFrame
    if types == "arrow":
        frame = table.to_pandas(types_mapper=pd.ArrowDtype)
        return frame
    # what has no exact form in numpy: float64 holds all integers of 32 bits, with NaN beside them, but not those of 64
    inexact = {field.name: kind for field in table.schema if (kind := _nullable(field.type)) and table[field.name].null_count}
    frame = table.select([name for name in table.column_names if name not in inexact]).to_pandas(types_mapper=_as_arrow)
    for place, name in enumerate(table.column_names):
        if name in inexact:
            frame.insert(
                place, name, table[name].to_pandas(types_mapper=lambda _kind, kind=inexact[name]: pd.api.types.pandas_dtype(kind))
            )
    return frame


def _nullable(kind: pa.DataType) -> str | None:
    """Return the pandas type for values with nulls that numpy cannot hold exactly, None for all others."""
    if pa.types.is_boolean(kind):
        return "boolean"
    return {pa.int64(): "Int64", pa.uint64(): "UInt64"}.get(kind)


def _as_arrow(kind: pa.DataType) -> pd.ArrowDtype | None:
    """Return the Arrow type for lists, structs and tensors, which numpy would hold as Python objects."""
    import pandas as pd

    return pd.ArrowDtype(kind) if pa.types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType) else None


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Return a Polars DataFrame; needs the extra `polars`."""
    try:
        import polars as pl
    except ImportError as error:
        raise _without("polars") from error
    return pl.DataFrame(pl.from_arrow(table))


def to_nested(table: pa.Table) -> NestedFrame:
    """Return a NestedFrame of a table in the layout `nested`; needs the extra `nested`."""
    import pandas as pd

    try:
        from nested_pandas import NestedDtype, NestedFrame
    except ImportError as error:
        raise _without("nested") from error
    columns: dict[str, Any] = {}
    for field in table.schema:
        own = pd.ArrowDtype(field.type)
        cells = pd.Series(pd.arrays.ArrowExtensionArray(table[field.name]), copy=False)
        columns[field.name] = cells.astype(NestedDtype.from_pandas_arrow_dtype(own)) if _is_nested(field) else cells
    return NestedFrame(columns)


def _is_nested(field: pa.Field) -> bool:
    return bool(pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type))


def _without(extra: str) -> NotSupported:
    return NotSupported(f"this needs another package: pip install 'alertflight[{extra}]'", field=extra)


def to_astropy(table: pa.Table, *, plain: bool = False) -> QTable | Table:
    """Return a table of astropy: units, UCDs and descriptions from the metadata of the fields, nulls masked.

    Parameters
    ----------
    table
        The rows.
    plain
        False: a QTable with Quantities and Time. True: a Table for files; see `Tabular.to_astropy`.

    Raises
    ------
    NotSupported
        A column is nested; or one is binary, which files of tables cannot hold.
    """
    from astropy.table import QTable, Table

    meta = {name.decode(): text.decode() for name, text in (table.schema.metadata or {}).items()}
    made = Table(meta=meta) if plain else QTable(meta=meta)
    check_holds(table.schema, plain=plain)
    for field in table.schema:
        said = {name.decode(): text.decode() for name, text in (field.metadata or {}).items()}
        name = field.name.replace(":", "_") if plain else field.name
        cells = table[field.name]
        made[name] = _plain_column(cells, field.type, said) if plain else _column(cells, field.type, said, field.name)
        made[name].info.description = said.get("description")
        made[name].info.meta = {key: said[key] for key in FIELD_META if said.get(key)}
    return made


def check_holds(schema: pa.Schema, *, plain: bool) -> None:
    """Raise NotSupported, with its name, if a table of astropy cannot hold a column."""
    for field in schema:
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type) or pa.types.is_struct(field.type):
            message = f"a table of astropy cannot hold the nested column {field.name}: use layout rows"
            raise NotSupported(message, field="layout", value="nested")
        if plain and (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)):
            message = f"files of tables cannot hold the bytes of {field.name}: "
            raise NotSupported(message + 'leave it out, or use cutout_format="array"', field=field.name)


def _plain_column(column: pa.ChunkedArray, kind: pa.DataType, said: dict[str, str]) -> Any:
    from astropy.table import Column, MaskedColumn

    values = _values(column, kind)
    # VOTable and FITS have no null texts, and astropy cannot read those of Parquet
    nulls = None if values.dtype.kind == "U" else _nulls(column, values)
    unit = said.get("unit") or None
    return Column(values, unit=unit) if nulls is None else MaskedColumn(values, mask=nulls, unit=unit)


def _nulls(column: pa.ChunkedArray, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    if not column.null_count:
        return None
    nulls = column.is_null().to_numpy()
    return np.broadcast_to(nulls.reshape(-1, *[1] * (values.ndim - 1)), values.shape)


def _column(column: pa.ChunkedArray, kind: pa.DataType, said: dict[str, str], name: str) -> Any:
    from astropy.table import Column, MaskedColumn
    from astropy.time import Time
    from astropy.units import Quantity
    from astropy.utils.masked import Masked

    values = _values(column, kind)
    nulls = _nulls(column, values)
    if pa.types.is_floating(kind) and said.get("unit") == "d" and said.get("time_scale"):
        shown = values if nulls is None else Masked(values, mask=nulls)
        return Time(shown, format="mjd" if "mjd" in name.lower() else "jd", scale=said["time_scale"])
    if values.dtype.kind == "f" and said.get("unit"):
        measured = Quantity(values, said["unit"], copy=False, dtype=values.dtype)
        return measured if nulls is None else Masked(measured, mask=nulls)
    return Column(values) if nulls is None else MaskedColumn(values, mask=nulls)


def _values(column: pa.ChunkedArray, kind: pa.DataType) -> np.ndarray[Any, Any]:
    """Return cells as a numpy array; values in the place of nulls have no meaning."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return _values(pa.chunked_array([part.storage for part in column.chunks], kind.storage_type), kind.storage_type).reshape(
            -1, *kind.shape
        )
    if pa.types.is_fixed_size_list(kind):
        blank = pa.scalar([0] * kind.list_size, kind)
        whole = pc.fill_null(column, blank) if column.null_count else column
        flat = pc.list_flatten(whole)
        return _values(flat, kind.value_type).reshape(-1, kind.list_size)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.asarray(pc.fill_null(column, "").to_numpy(), dtype=str)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return np.asarray(pc.fill_null(column, b"").to_numpy(), dtype=object)
    blank = False if pa.types.is_boolean(kind) else 0
    return np.asarray((pc.fill_null(column, blank) if column.null_count else column).to_numpy())
