"""Object IDs in any form that Python has (lists, arrays, Series, sets, frames) as plain strings and integers.

Nothing here loads pandas, Polars or astropy; their values are known by their methods.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from flight_client.bad_rows import BadRows
from flight_client.scalars import is_missing, plain_scalar
from flight_server.protocol.errors import BadValue

__all__ = ["IdList", "id_list", "plain_ids", "refuse_list_in_text"]

SEPARATORS = ",;\n\r\t"
PLAIN = re.compile(r"[^,;\s]+")  # most IDs, which need no further look
LIST_METHODS = ("to_pylist", "to_list", "tolist")
SHOWN = 5


@dataclass(slots=True)
class IdList:
    """Object IDs, and what a user should know about them.

    Parameters
    ----------
    ids
        The IDs, each once, in order.
    notes
        Which column they are from, and which were repeated or skipped.
    skipped
        The rows, from 0, that have no ID.
    """

    ids: list[str | int]
    notes: list[str] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)


def id_list(ids: object, id_column: Callable[[], str] | None = None, bad: str = "raise") -> IdList:
    """Return IDs as plain strings and integers.

    Parameters
    ----------
    ids
        One ID or many: any iterable, such as a list, a numpy or Arrow array, a pandas or Polars Series; or a frame with a
        column of them. A set is sorted.
    id_column
        Returns the name of the ID column of the table, for frames.
    bad
        Whether rows without an ID `raise` an error or are skipped: `skip`.

    Raises
    ------
    BadValue
        The values are not IDs; the message has the row.

    Examples
    --------
    >>> import numpy as np
    >>> id_list(np.array([170587115523932323, 4])).ids
    [170587115523932323, 4]
    >>> id_list("ZTF20abfcszi").ids
    ['ZTF20abfcszi']
    >>> id_list(["ZTF20abfcszi", "ZTF18abadigg", "ZTF20abfcszi"]).notes
    ['1 row repeats an ID and is answered with the first: row 2 (ZTF20abfcszi) repeats row 0']
    """
    notes: list[str] = []
    rows = BadRows(bad, "ids")
    first: dict[str | int, int] = {}
    repeated: list[str] = []
    count = 0
    for row, value in _numbered(ids, id_column, notes, rows):
        if first.setdefault(value, row) != row:
            count += 1
            if len(repeated) < SHOWN:
                repeated.append(f"row {row} ({value}) repeats row {first[value]}")
    if count:
        some = "1 row repeats an ID and is" if count == 1 else f"{count:,} rows repeat IDs and are"
        more = "" if count == len(repeated) else ", ..."
        notes.append(f"{some} answered with the first: {', '.join(repeated)}{more}")
    notes += rows.report()
    return IdList(list(first), notes, rows.skipped)


def plain_ids(
    ids: object,
    id_column: Callable[[], str] | None = None,
    notes: list[str] | None = None,
    rows: BadRows | None = None,
) -> Iterator[str | int | None]:
    """Return an iterator over IDs, as plain strings and integers; None for rows to skip.

    A single ID, and the columns of a frame, are checked at once; the others as they are taken.

    Parameters
    ----------
    ids, id_column
        As in `id_list`.
    notes
        The column that the IDs are from is added to it.
    rows
        Handles rows without an ID; by default they raise.

    Raises
    ------
    BadValue
        The values are not IDs.
    """
    rows = BadRows("raise", "ids") if rows is None else rows
    single, values = _values(ids, id_column, [] if notes is None else notes)
    found = _each(values, rows, single=single)
    return iter(list(found)) if single else found


def _each(values: Iterable[Any], rows: BadRows, *, single: bool) -> Iterator[str | int | None]:
    for row, value in enumerate(values):
        quick = type(value) is int or (type(value) is str and PLAIN.fullmatch(value))
        yield value if quick else _plain_id(row, value, rows, single=single)


def _numbered(
    ids: object, id_column: Callable[[], str] | None, notes: list[str], rows: BadRows
) -> Iterator[tuple[int, str | int]]:
    for row, value in enumerate(plain_ids(ids, id_column, notes, rows)):
        if value is not None:
            yield row, value


def _values(ids: object, id_column: Callable[[], str] | None, notes: list[str]) -> tuple[bool, Iterable[Any]]:
    """Return whether this is a single ID, and the values."""
    names = _column_names(ids)
    if names is not None:
        ids = _column(ids, names, id_column, notes)
    scalar = plain_scalar(ids)
    if isinstance(scalar, str | bytes | int | float) or is_missing(scalar):
        return True, [scalar]
    if isinstance(ids, set | frozenset):
        return False, sorted(
            ids, key=lambda value: (str(type(value)), value) if isinstance(value, str | int) else (str(value), 0)
        )
    method = next((found for name in LIST_METHODS if (found := getattr(ids, name, None)) is not None), None)
    values = ids if method is None else method()
    if not isinstance(values, Iterable):
        raise BadValue(f"ids must be object IDs, not {ids!r:.60}", field="ids", value=ids)
    return False, values


def _plain_id(row: int, value: Any, rows: BadRows, *, single: bool) -> str | int | None:
    where = "" if single else f" in row {row}"
    value = plain_scalar(value)
    if isinstance(value, bytes):  # of FITS files and numpy arrays of dtype S
        try:
            value = value.decode("ascii")
        except UnicodeDecodeError:
            raise BadValue(f"the ID{where} has bytes that are no text: {value!r:.60}", field="ids", value=value) from None
    if is_missing(value):
        rows.add(row, f"no ID ({value})")
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        message = f"an ID must be a string or an integer, not {value!r:.60}{where}"
        if isinstance(value, float):
            message += ": floats cannot represent long IDs exactly (pandas makes them of integers beside missing ones: use Int64)"
        raise BadValue(message, field="ids", value=value)
    if isinstance(value, str):
        if not value.strip():
            rows.add(row, f"no ID ({value!r:.20})")
            return None
        refuse_list_in_text(value, "ids", where, SEPARATORS + " " if single else SEPARATORS)
    return value


def refuse_list_in_text(value: str, field: str, where: str = "", separators: str = SEPARATORS) -> None:
    """Raise BadValue, with the list to write instead, if a text holds several names."""
    if not any(mark in value for mark in separators):
        return
    parts = value.translate(dict.fromkeys(map(ord, separators), " ")).split()
    form = ", ".join(f'"{part}"' for part in parts[:2]) + (", ..." if len(parts) > 2 else "")  # noqa: PLR2004
    raise BadValue(f"{value!r:.60}{where} is one text, not one of {field}: give a list, [{form}]", field=field, value=value)


def _column_names(ids: Any) -> list[str] | None:
    """Return the names of the columns of a frame, None if this is no frame."""
    if isinstance(ids, str | bytes | list | tuple | set | frozenset):
        return None
    if isinstance(ids, Mapping):
        return list(map(str, ids))
    if isinstance(getattr(ids, "dtype", None), np.dtype) and ids.dtype.names:
        return list(ids.dtype.names)
    if hasattr(ids, "collect_schema"):  # Polars
        return list(ids.collect_schema().names())
    for holder in (ids, getattr(ids, "schema", None)):
        for name in ("colnames", "column_names", "names", "columns"):
            names = getattr(holder, name, None)
            if name == "names" and holder is ids:  # of an index of pandas
                continue
            if isinstance(names, Iterable) and not isinstance(names, str):
                return list(map(str, names))
    return None


def _column(frame: Any, names: list[str], id_column: Callable[[], str] | None, notes: list[str]) -> Any:
    """Return the ID column of a frame."""
    wanted = "" if id_column is None else id_column()
    short = wanted.partition(":")[2] or wanted
    index = getattr(frame, "index", None)
    indices = [str(name) for name in getattr(index, "names", None) or () if name is not None]
    for name in (wanted, short):
        if name and names.count(name) == 1:
            notes.append(f"the IDs are those of the column {name}")
            return _picked(frame, name)
        if name and name in indices:
            notes.append(f"the IDs are those of the index {name}")
            return frame.index.get_level_values(name)
    shown = ", ".join([*names, *(f"{name} (index)" for name in indices)]) or "none"
    is_mapping = isinstance(frame, Mapping)
    what = "a dictionary with the keys" if is_mapping else "a table with the columns"
    instead = "list(...)" if is_mapping else f"table[{names[0]!r:.40}]" if names else "a list"
    message = f"ids must be object IDs, not {what} {shown:.120}: none is {wanted or 'the ID column'}; give one of them, {instead}"
    raise BadValue(message, field="ids", value=shown)


def _picked(frame: Any, name: str) -> Any:
    if hasattr(frame, "collect"):  # a lazy frame of Polars
        return frame.select(name).collect()[name]
    if hasattr(frame, "get_fragments"):  # a data set of Arrow
        return frame.to_table(columns=[name])[name]
    if hasattr(frame, "__getitem__"):
        column = frame[name]
        if _column_names(column) is None:
            return column
    return pa.table(frame)[name]  # a reader, an answer, a relation of DuckDB
