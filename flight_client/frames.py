"""Arrow tables as pandas, Polars, nested-pandas and astropy tables. Each library is loaded when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.protocol.errors import NotSupported

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from astropy.table import QTable
    from nested_pandas import NestedFrame

__all__ = ["to_astropy", "to_nested", "to_pandas", "to_polars"]


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Return a DataFrame with Arrow types: IDs stay exact, and integers with nulls stay integers."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


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


def to_astropy(table: pa.Table) -> QTable:
    """Return a QTable: units from the metadata of the fields, times as Time in their scale, nulls masked."""
    from astropy.table import QTable

    made = QTable(meta={name.decode(): text.decode() for name, text in (table.schema.metadata or {}).items()})
    for field in table.schema:
        if _is_nested(field):
            raise NotSupported(
                f"a QTable cannot hold the nested column {field.name}: use layout rows", field="layout", value="nested"
            )
        said = {name.decode(): text.decode() for name, text in (field.metadata or {}).items()}
        made[field.name] = _column(table[field.name], field.type, said, field.name)
        made[field.name].info.description = said.get("description")
        made[field.name].info.meta = {name: said[name] for name in ("ucd", "origin", "time_reference") if said.get(name)}
    return made


def _column(column: pa.ChunkedArray, kind: pa.DataType, said: dict[str, str], name: str) -> Any:
    from astropy.table import Column, MaskedColumn
    from astropy.time import Time
    from astropy.units import Quantity
    from astropy.utils.masked import Masked

    values = _values(column, kind)
    nulls = column.is_null().to_numpy() if column.null_count else None
    if nulls is not None:
        nulls = np.broadcast_to(nulls.reshape(-1, *[1] * (values.ndim - 1)), values.shape)
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
